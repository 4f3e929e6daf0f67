"""The whole model against transformers with the same weights, in one process, as ratios with their spread.

Floors: not slower in prefill and in a training step, 1.5 times as fast in writing with a cache at context 512.
`python benchmarks/tiny_deepseek.py` takes about a minute; `prefill`, `train`, `write` or `profile` run one part.
`record` runs all and keeps the results for the chapter, in recorded/tiny_deepseek.bench.json: do that on a
quiet machine.
"""

import json
import os
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from keep import keep
from torch.profiler import ProfilerActivity, profile

os.environ |= {"HF_HUB_OFFLINE": "1", "KINETO_LOG_LEVEL": "99"}
import transformers

from deepseek_explained.budget import ModelSpec, training_flops_per_token
from deepseek_explained.tiny_deepseek import DeepSeek, count

RECORD = (
    Path(__file__).parent.parent / "deepseek_explained" / "recorded" / "tiny_deepseek.bench.json"
)
FLOORS = {"prefill": 1.0, "train": 1.0, "write": 1.5}
SHAPE = {
    "vocab_size": 4096,
    "hidden_size": 384,
    "intermediate_size": 1024,
    "moe_intermediate_size": 128,
    "num_hidden_layers": 6,
    "first_k_dense_replace": 1,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "q_lora_rank": 192,
    "kv_lora_rank": 128,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 32,
    "n_group": 4,
    "topk_group": 2,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "num_nextn_predict_layers": 0,
    "max_position_embeddings": 4096,
}
THREADS = int(os.environ.get("THREADS", "2"))


def seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(name: str, ours, theirs, rounds: int) -> list[float]:
    """Run both in turn, so that a busy machine slows both; print the rounds' ratio: median, lowest, highest."""
    ours(), theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(rounds)]
    ratios = sorted(b / a for a, b in pairs)
    mine, other = (min(column) for column in zip(*pairs, strict=True))
    middle = statistics.median(ratios)
    print(
        f"{name:8} ours {mine * 1e3:7.0f} ms, transformers {other * 1e3:7.0f} ms, ratio {middle:.2f} "
        f"({ratios[0]:.2f} to {ratios[-1]:.2f}), of the fastest {other / mine:.2f}; "
        f"floor {FLOORS[name]}: {'held' if middle >= FLOORS[name] else 'missed'}",
        flush=True,
    )
    keep(f"tiny_deepseek.{name}", middle, "times")
    return [round(ratio, 2) for ratio in (middle, ratios[0], ratios[-1])]


def loss_step(model, logits, token_ids):
    def step():
        model.zero_grad()
        out = logits(token_ids[:, :-1])
        F.cross_entropy(out.flatten(0, 1), token_ids[:, 1:].flatten()).backward()

    return step


def ceiling() -> float:
    """FLOP/s of the fastest product of two large matrices."""
    a, b = torch.randn(2, 1024, 1024)
    return 2 * 1024**3 / min(seconds(lambda: a @ b) for _ in range(20))


def where_it_goes(step, tokens: int, config) -> dict:
    """Speed and utilisation of a training step; prints its time by kind of work."""
    flops = training_flops_per_token(ModelSpec.from_config(config.to_dict()), 255) * tokens
    step()
    taken, peak = min(seconds(step) for _ in range(3)), ceiling()
    print(
        f"training: {tokens / taken:,.0f} tokens/s, ceiling {peak / 1e9:.0f} GFLOP/s, "
        f"utilisation {flops / taken / peak:.0%}"
    )
    with profile(activities=[ProfilerActivity.CPU]) as measured:
        step()
    events = sorted(measured.key_averages(), key=lambda event: -event.self_cpu_time_total)
    total = sum(event.self_cpu_time_total for event in events)
    for event in events[:10]:
        print(f"  {event.key:34}{event.self_cpu_time_total / total:6.1%}{event.count:7} calls")
    return {
        "tokens_per_second": round(tokens / taken),
        "utilisation": round(flops / taken / peak, 2),
    }


def main() -> None:
    everything = {"prefill", "train", "write", "profile"}
    keep = "record" in sys.argv[1:]
    wanted = everything if keep else set(sys.argv[1:]) or everything
    results = {}
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    theirs = transformers.DeepseekV3ForCausalLM(transformers.DeepseekV3Config(**SHAPE))
    ours = DeepSeek.from_transformers(theirs)
    print(f"{count(ours):,} parameters, {THREADS} threads, torch {torch.__version__}")
    token_ids = torch.randint(SHAPE["vocab_size"], (4, 256))
    if "prefill" in wanted:
        with torch.no_grad():
            results["prefill"] = compare(
                "prefill", lambda: ours(token_ids), lambda: theirs(token_ids).logits, 7
            )
    if "train" in wanted:
        results["train"] = compare(
            "train",
            loss_step(ours, ours, token_ids),
            loss_step(theirs, lambda ids: theirs(ids).logits, token_ids),
            5,
        )
    if "write" in wanted:
        prompt, n_new = token_ids.flatten()[None, :512], 32
        with torch.no_grad():  # both read the prompt outside of the timing: only writing counts
            cache = ours.new_cache(512 + n_new)
            ours.hidden_states(prompt, cache)
            their_cache = theirs(prompt, use_cache=True).past_key_values

            def write_ours():
                token = prompt[:, -1:]
                for _ in range(n_new):
                    token = ours.lm_head(ours.hidden_states(token, cache)).argmax(-1)
                cache.truncate(512)

            def write_theirs():
                token = prompt[:, -1:]
                for _ in range(n_new):
                    token = theirs(token, past_key_values=their_cache, use_cache=True).logits
                    token = token.argmax(-1)
                their_cache.crop(-n_new)

            results["write"] = compare("write", write_ours, write_theirs, 7)
    if "profile" in wanted:
        results |= where_it_goes(loss_step(ours, ours, token_ids), 4 * 255, ours.config)
    if keep:
        results |= {"threads": THREADS, "machine": platform.processor() or platform.machine()}
        results |= {"torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
        RECORD.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
