"""How fast experts are dispatched, against the machine's ceiling and transformers' fastest path. Asserts nothing.

`python benchmarks/moe.py` prints useful GFLOP/s of each dispatch over expert count and batch, then the whole layer
beside transformers' DeepSeek-V3 layer under each of its CPU implementations, on the same weights. Ours and theirs are
timed in turn, so that whatever else the machine does falls on both. Under three minutes on two quiet cores.
"""

import os
import time

import torch

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.moe import DISPATCHES, MixtureOfExperts

TINY = published_config("tiny")
# experts, at work, width of one, hidden size
SHAPES = ((8, 1, 512, 256), (32, 4, 128, 256), (128, 16, 32, 256), (64, 6, 176, 512))
BATCHES = (1, 2, 64, 1024)
THEIRS = ("eager", "batched_mm", "grouped_mm")


def timed(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def in_turn(works: dict, seconds: float = 0.4, at_least: int = 3) -> dict:
    """The fastest time of each of several works, run in turn."""
    best = {name: timed(work) for name, work in works.items()}  # to warm up
    start, rounds = time.perf_counter(), 0
    while rounds < at_least or (time.perf_counter() - start < seconds and rounds < 400):
        for name, work in works.items():
            best[name] = min(best[name], timed(work))
        rounds += 1
    return best


def ceiling() -> float:
    square = torch.randn(1024, 1024)
    return 2 * 1024**3 / in_turn({"": lambda: square @ square}, at_least=10)[""] / 1e9


def layers(n_experts, n_active, width, hidden):
    """Our layer and transformers', with the same weights."""
    torch.manual_seed(0)
    settings = {name: value for name, value in TINY.items() if name != "model_type"}
    settings |= {
        "hidden_size": hidden,
        "moe_intermediate_size": width,
        "n_routed_experts": n_experts,
        "num_experts_per_tok": n_active,
        "n_group": 1,
        "topk_group": 1,
    }
    ours = MixtureOfExperts(DeepSeekConfig.from_dict({**settings, "model_type": "deepseek_v3"}))
    theirs = DeepseekV3MoE(transformers.DeepseekV3Config(**settings))
    names = {"router.weight": "gate.weight", "router.bias": "gate.e_score_correction_bias"}
    theirs.load_state_dict(
        {names.get(name, name): tensor for name, tensor in ours.state_dict().items()}
    )
    return ours, theirs


def step(layer, x, target):
    """A forward and a backward pass, with the gradients of all weights and of the input."""
    leaf = x.detach().requires_grad_()
    parameters = [p for p in layer.parameters() if p.requires_grad]
    torch.autograd.grad(layer(leaf), [leaf, *parameters], target)


def dispatch_table(peak: float) -> None:
    print(f"ceiling {peak:.0f} GFLOP/s (float32, 1024 square), {torch.get_num_threads()} threads\n")
    print("useful GFLOP/s of the routed experts, forward / forward and backward")
    print(
        f"{'experts, at work, width, hidden':34}{'tokens':>7}"
        + "".join(f"{n:>16}" for n in DISPATCHES)
    )
    for n_experts, n_active, width, hidden in SHAPES:
        for n_tokens in BATCHES:
            torch.manual_seed(0)
            weights = (
                torch.randn(n_experts, 2 * width, hidden),
                torch.randn(n_experts, hidden, width),
            )
            x, target = torch.randn(n_tokens, hidden), torch.randn(n_tokens, hidden)
            gates = torch.rand(n_tokens, n_active)
            chosen = torch.rand(n_tokens, n_experts).topk(n_active, dim=-1).indices
            flops = 6 * n_tokens * n_active * width * hidden
            cells = ""
            for name, dispatch in DISPATCHES.items():
                if (name == "chosen" and n_tokens > 8) or (name == "dense" and n_tokens > 64):
                    cells += f"{'':>16}"
                    continue

                def forward(dispatch=dispatch, x=x, gates=gates, chosen=chosen, weights=weights):
                    with torch.no_grad():
                        dispatch(x, gates, chosen, *weights)

                def both(
                    dispatch=dispatch,
                    x=x,
                    gates=gates,
                    chosen=chosen,
                    weights=weights,
                    target=target,
                ):
                    leaves = [t.detach().requires_grad_() for t in (x, gates, *weights)]
                    torch.autograd.grad(
                        dispatch(leaves[0], leaves[1], chosen, *leaves[2:]), leaves, target
                    )

                best = in_turn({"forward": forward, "both": both}, seconds=0.2, at_least=3)
                cells += (
                    f"{flops / best['forward'] / 1e9:8.1f} /{3 * flops / best['both'] / 1e9:6.1f}"
                )
            print(
                f"{n_experts:4} {n_active:4} {width:5} {hidden:5}{'':14}{n_tokens:>7}{cells}",
                flush=True,
            )


def whole_layer(ours, theirs, n_tokens, training) -> dict:
    """Fastest times of our layer and of theirs under each implementation, in seconds."""
    torch.manual_seed(1)
    x = torch.randn(1, n_tokens, ours.hidden_size)
    target = torch.randn_like(x)

    def work(layer, how=None):
        if how:
            theirs.config._experts_implementation = how
        if training:
            step(layer, x, target)
        else:
            with torch.no_grad():
                layer(x)

    works = {"ours": lambda: work(ours)}
    for how in THEIRS:
        if how != "batched_mm" or n_tokens <= 8:  # it copies the weights for every token
            works[how] = lambda how=how: work(theirs, how)
    return in_turn(works)


def layer_table() -> None:
    print("\nthe whole layer (router, routed and shared experts), milliseconds")
    head = f"{'experts, at work, width, hidden':34}{'tokens':>7}{'':>10}{'ours':>9}{'theirs':>9}"
    print(head + "  their fastest    theirs/ours")
    for shape in SHAPES:
        ours, theirs = layers(*shape)
        for n_tokens in BATCHES:
            for training in (False, True):
                best = whole_layer(ours, theirs, n_tokens, training)
                mine = best.pop("ours")
                how = min(best, key=best.get)
                what = "training" if training else "forward"
                numbers = "".join(f"{n:5}" for n in shape)
                print(
                    f"{numbers:34}{n_tokens:>7}{what:>10}{mine * 1e3:9.3f}{best[how] * 1e3:9.3f}"
                    f"  {how:16}{best[how] / mine:9.2f}",
                    flush=True,
                )


def main() -> None:
    transformers.logging.set_verbosity_error()
    dispatch_table(ceiling())
    layer_table()


if __name__ == "__main__":
    main()
