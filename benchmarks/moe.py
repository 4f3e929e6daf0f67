"""How fast experts are dispatched, against the machine's ceiling and transformers' fastest path. Asserts nothing.

`python benchmarks/moe.py` prints useful GFLOP/s of each dispatch over expert count and batch, then the whole layer
beside transformers' DeepSeek-V3 layer under each of its CPU implementations. Both layers hold the same tensors, and
each run of theirs follows one of ours: so both find the weights in the same caches, and whatever else the machine does
falls on both. About a minute on two quiet cores. `--busy` is for a machine that others use: one thread, and the
processor's seconds in place of the clock's.
"""

import argparse
import os
import time
from statistics import median

import torch
from keep import keep

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
clock = time.perf_counter


def timed(work) -> float:
    start = clock()
    work()
    return clock() - start


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
    """Our layer and transformers', with the same weights: the same tensors in memory."""
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
    state = {names.get(name, name): tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict(state, assign=True)
    return ours, theirs.requires_grad_()


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


def whole_layer(ours, theirs, n_tokens, training, seconds: float = 1.0) -> dict:
    """How fast theirs is beside ours: implementation -> seconds of ours, of theirs, theirs/ours; medians of rounds.

    What takes three times as long as the fastest of theirs while warming up is not timed further.
    """
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

    timed(lambda: work(ours))
    # batched_mm copies the weights for every token
    hows = [how for how in THEIRS if how != "batched_mm" or n_tokens <= 8]
    warm = {how: min(timed(lambda how=how: work(theirs, how)) for _ in range(2)) for how in hows}
    pairs = {how: [] for how in hows if warm[how] < 3 * min(warm.values())}
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < 5 or (time.perf_counter() < end and rounds < 400):
        for how, times in pairs.items():
            times.append((timed(lambda: work(ours)), timed(lambda how=how: work(theirs, how))))
        rounds += 1
    return {
        how: (
            median(mine for mine, _ in times),
            median(yours for _, yours in times),
            median(yours / mine for mine, yours in times),
        )
        for how, times in pairs.items()
    }


def layer_table() -> None:
    print("\nthe whole layer (router, routed and shared experts), milliseconds, medians")
    head = f"{'experts, at work, width, hidden':34}{'tokens':>7}{'':>10}{'ours':>9}{'theirs':>9}"
    print(head + "  their fastest    theirs/ours")
    ratios = {"forward": [], "training": []}
    for shape in SHAPES:
        ours, theirs = layers(*shape)
        for n_tokens in BATCHES:
            for what in ratios:
                found = whole_layer(ours, theirs, n_tokens, what == "training")
                how = min(found, key=lambda how: found[how][2])
                mine, yours, ratio = found[how]
                ratios[what].append(ratio)
                numbers = "".join(f"{n:5}" for n in shape)
                print(
                    f"{numbers:34}{n_tokens:>7}{what:>10}{mine * 1e3:9.3f}{yours * 1e3:9.3f}"
                    f"  {how:16}{ratio:9.2f}",
                    flush=True,
                )
    for what, values in ratios.items():
        print(f"{what}: theirs/ours {min(values):.2f} at least, {median(values):.2f} in the middle")
        keep(f"moe.{what}.least", min(values), "times")
        keep(f"moe.{what}.median", median(values), "times")


def main() -> None:
    global clock
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--busy", action="store_true", help="one thread, processor time")
    if parser.parse_args().busy:
        torch.set_num_threads(1)
        clock = time.process_time
    transformers.logging.set_verbosity_error()
    dispatch_table(ceiling())
    layer_table()


if __name__ == "__main__":
    main()
