"""How fast attention decodes and reads a prompt, and how a cache grows. Asserts nothing."""

import time
from dataclasses import replace

import torch
from keep import keep

from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.mla import GrowingTensor, MultiHeadAttention, MultiHeadLatentAttention

CONFIG = replace(
    DeepSeekConfig.from_dict(published_config("tiny")),
    hidden_size=512,
    num_attention_heads=16,
    q_lora_rank=None,
    kv_lora_rank=128,
    qk_nope_head_dim=32,
    qk_rope_head_dim=16,
    v_head_dim=32,
)


def fastest(work, repeats: int = 7) -> float:
    """Milliseconds of the fastest of a few calls, after one to warm up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3


@torch.no_grad()
def decode(layer, length: int, batch: int = 1, **way) -> float:
    cache = layer.new_cache(length)
    if isinstance(layer, MultiHeadLatentAttention):
        width = CONFIG.kv_lora_rank + CONFIG.qk_rope_head_dim
        cache.append(torch.randn(batch, length - 1, width))
    else:
        heads = CONFIG.num_attention_heads
        cache.append(*torch.randn(2, batch, heads, length - 1, CONFIG.v_head_dim))
    token = torch.randn(batch, 1, CONFIG.hidden_size)

    def step():
        layer(token, cache, **way)
        cache.truncate(length - 1)

    return fastest(step)


def growing(steps: int) -> float:
    rows, cache = torch.randn(1, 1, 144), GrowingTensor()
    start = time.perf_counter()
    for _ in range(steps):
        cache.append(rows)
    return (time.perf_counter() - start) * 1e3


def gluing(steps: int) -> float:
    rows = torch.randn(1, 1, 144)
    start = time.perf_counter()
    cache = rows
    for _ in range(steps - 1):
        cache = torch.cat((cache, rows), dim=1)
    return (time.perf_counter() - start) * 1e3


def main() -> None:
    torch.manual_seed(0)
    latent, ordinary = MultiHeadLatentAttention(CONFIG), MultiHeadAttention(CONFIG)
    print("decode one token, ms   batch      MHA    naive  absorbed")
    for batch in (1, 8):
        for length in (64, 512, 2048, 8192 // batch):
            times = [decode(ordinary, length, batch)]
            times += [decode(latent, length, batch, absorbed=way) for way in (False, True)]
            print(f"  context {length:6,}{batch:13}" + "".join(f"{t:10.2f}" for t in times))
            if batch == 1:
                keep(f"mla.naive_over_absorbed.{length}", times[1] / times[2], "times")
    print("read a prompt, ms      batch      MHA    naive  absorbed")
    with torch.no_grad():
        for batch, length in ((1, 128), (1, 512), (8, 256)):
            x = torch.randn(batch, length, CONFIG.hidden_size)
            times = [fastest(lambda x=x: ordinary(x))]
            times += [
                fastest(lambda x=x, way=way: latent(x, absorbed=way)) for way in (False, True)
            ]
            print(f"  prompt  {length:6,}{batch:13}" + "".join(f"{t:10.2f}" for t in times))
    for steps in (1000, 8000):
        print(
            f"{steps:,} tokens appended: growing {growing(steps):8.1f} ms, gluing {gluing(steps):8.1f} ms"
        )


if __name__ == "__main__":
    main()
