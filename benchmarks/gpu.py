"""One decode step of latent attention and one layer of experts in the shapes of DeepSeek-V3, timed on one GPU.

`python benchmarks/gpu.py` needs an NVIDIA GPU and writes deepseek_explained/recorded/gpu.json: seconds over batch and
context, beside the memory bandwidth and the matrix product that the same card reaches. The chapter on serving draws it.
`--device cpu --tiny --output FILE` runs the same code with a small model on a processor, to see that it works.

The attention is the book's own, absorbed, in plain PyTorch: it writes its scores to memory, which a fused kernel does
not. So its share of the roof says how far readable code comes, not what the card can do.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch

from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.mla import MultiHeadLatentAttention, mla_multiplications
from deepseek_explained.moe import MixtureOfExperts

ROOT = Path(__file__).resolve().parent.parent
RECORD = ROOT / "deepseek_explained" / "recorded" / "gpu.json"
BATCHES, CONTEXTS = (1, 4, 16, 64, 128), (1024, 4096, 16384, 65536)
EXPERT_BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
SPARE = 2 * 2**30  # bytes of memory that no measurement may plan to use


def seconds_of(work, device: str, repeats: int) -> list[float]:
    """Seconds of each of `repeats` calls, after two to warm up; the device has finished when a call counts as done."""
    times = []
    for number in range(repeats + 2):
        if device == "cuda":
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            took = start.elapsed_time(end) / 1e3
        else:
            began = time.perf_counter()
            work()
            took = time.perf_counter() - began
        if number >= 2:
            times.append(took)
    return times


def measured_bandwidth(device: str, n_bytes: int, repeats: int) -> float:
    """Bytes per second of the fastest copy: what is read and what is written both count."""
    source = torch.zeros(n_bytes, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * n_bytes / min(seconds_of(lambda: target.copy_(source), device, repeats))


def measured_matmul(device: str, dtype: torch.dtype, size: int, repeats: int) -> float:
    """FLOP per second of the fastest product of two square matrices."""
    a, b = (torch.randn(size, size, dtype=dtype, device=device) for _ in range(2))
    return 2 * size**3 / min(seconds_of(lambda: a @ b, device, repeats))


def free_bytes(device: str) -> float:
    return torch.cuda.mem_get_info()[0] - SPARE if device == "cuda" else float("inf")


def attention_rows(config, device, dtype, batches, contexts, repeats):
    """One decode step of absorbed latent attention: a token for each sequence, `context` keys with the new one."""
    layer = MultiHeadLatentAttention(config).to(device=device, dtype=dtype)
    weights = sum(p.numel() for p in layer.parameters())
    width, size = config.kv_lora_rank + config.qk_rope_head_dim, dtype.itemsize
    for batch in batches:
        for context in contexts:
            cached = batch * context * width
            scores = batch * config.num_attention_heads * context
            # The cache once; scores and their softmax in a few copies, the largest in float32.
            if size * cached + 16 * scores > free_bytes(device):
                yield {
                    "part": "attention",
                    "batch": batch,
                    "context": context,
                    "left_out": "memory",
                }
                continue
            cache = layer.new_cache(context)
            cache.append(torch.randn(batch, context - 1, width, dtype=dtype, device=device))
            token = torch.randn(batch, 1, config.hidden_size, dtype=dtype, device=device)

            def step(layer=layer, token=token, cache=cache, context=context):
                layer(token, cache, absorbed=True)
                cache.truncate(context - 1)

            yield {
                "part": "attention",
                "batch": batch,
                "context": context,
                "flops": 2 * batch * mla_multiplications(config, 1, context, absorbed=True),
                "bytes": size * (weights + cached),
                "times": seconds_of(step, device, repeats),
            }
            del cache, token, step


def expert_rows(config, device, dtype, batches, repeats):
    """One layer of experts: router, those routed experts that some token chose, and the shared one."""
    expert = 3 * config.hidden_size * config.moe_intermediate_size
    if (config.n_routed_experts + 1) * expert * dtype.itemsize > free_bytes(device):
        yield {"part": "experts", "left_out": "memory"}
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)  # made where it is used, in the precision it is used in
    try:
        with torch.device(device):
            layer = MixtureOfExperts(config, dispatch="grouped" if device == "cuda" else "loop")
    finally:
        torch.set_default_dtype(before)
    n_active, n_shared = config.num_experts_per_tok, config.n_shared_experts
    router = config.n_routed_experts * config.hidden_size
    for batch in batches:
        tokens = torch.randn(batch, 1, config.hidden_size, dtype=dtype, device=device)
        times = seconds_of(lambda tokens=tokens: layer(tokens), device, repeats)
        different = int((layer.last_load > 0).sum())
        yield {
            "part": "experts",
            "batch": batch,
            "different_experts": different,
            "flops": 2 * batch * ((n_active + n_shared) * expert + router),
            "bytes": dtype.itemsize * ((different + n_shared) * expert + router),
            "times": times,
        }


def finished(row: dict, bandwidth: float, matmul: float) -> dict:
    """The row with its middle time and its shares of the two measured ceilings and of the roof they make."""
    times = row.pop("times")
    seconds = statistics.median(times)
    least = max(row["flops"] / matmul, row["bytes"] / bandwidth)
    return row | {
        "seconds": seconds,
        "fastest": min(times),
        "slowest": max(times),
        "share_of_bandwidth": row["bytes"] / seconds / bandwidth,
        "share_of_matmul": row["flops"] / seconds / matmul,
        "share_of_roof": least / seconds,
    }


@torch.inference_mode()
def measure(device: str, tiny: bool, repeats: int = 20, seed: int = 0) -> dict:
    """Everything: ceilings first, then both parts. tiny: the book's small model, in float32."""
    began = time.perf_counter()
    torch.manual_seed(seed)
    config = DeepSeekConfig.from_dict(published_config("tiny" if tiny else "deepseek-v3"))
    dtype = torch.float32 if tiny else torch.bfloat16
    bandwidth = measured_bandwidth(device, 2**20 if tiny else 2**32, repeats)
    matmul = measured_matmul(device, dtype, 64 if tiny else 8192, repeats)
    shapes = ((1, 2), (4, 8)) if tiny else (BATCHES, CONTEXTS)
    rows = [*attention_rows(config, device, dtype, *shapes, repeats)]
    rows += expert_rows(config, device, dtype, (1, 4) if tiny else EXPERT_BATCHES, repeats)
    left_out = [row for row in rows if "left_out" in row]
    rows = [finished(row, bandwidth, matmul) for row in rows if "times" in row]
    name = torch.cuda.get_device_name() if device == "cuda" else f"{platform.machine()} processor"
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return {
        "machine": name,
        "device": device,
        "torch": torch.__version__,
        "date": date.today().isoformat(),
        "commit": git.stdout.strip() or "unknown",
        "model": "tiny" if tiny else "deepseek-v3",
        "dtype": str(dtype).removeprefix("torch."),
        "seed": seed,
        "repeats": repeats,
        "bandwidth": bandwidth,
        "matmul": matmul,
        "rows": rows,
        "left_out": left_out,
        "seconds": round(time.perf_counter() - began, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model, to try the program")
    parser.add_argument(
        "--output", type=Path, help=f"where to write; a real run writes {RECORD.name}"
    )
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        print(
            "benchmarks/gpu.py: no NVIDIA GPU that PyTorch can use is here; nothing was measured or written.",
            file=sys.stderr,
        )
        return 1
    if chosen.device == "cpu" and not chosen.tiny:
        print(
            "benchmarks/gpu.py: --device cpu needs --tiny; nothing was measured.", file=sys.stderr
        )
        return 1
    record = measure(chosen.device, chosen.tiny, repeats=3 if chosen.tiny else 20)
    for row in record["rows"]:
        where = f"batch {row['batch']:5}" + (
            f", context {row['context']:6}" if "context" in row else ""
        )
        print(
            f"{row['part']:10}{where:28}{1e3 * row['seconds']:9.3f} ms, "
            f"{row['share_of_bandwidth']:4.0%} of bandwidth, {row['share_of_matmul']:4.0%} of the matrix ceiling"
        )
    output = chosen.output or (None if chosen.tiny else RECORD)
    if output is None:
        print("a tiny run without --output: nothing written")
        return 0
    output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"written: {output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
