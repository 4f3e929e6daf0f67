"""Latent attention against transformers, against itself the other way round, and against what causality demands."""

import importlib.util
import json
import math
import os
import random
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as theirs

from deepseek_explained import mla
from deepseek_explained.budget import ModelSpec
from deepseek_explained.config import DeepSeekConfig, YarnScaling, published_config
from deepseek_explained.mla import (
    N_ATTRIBUTES,
    N_FACTS,
    N_KEYS,
    N_QUESTIONS,
    N_VALUES,
    GrowingTensor,
    KeyValueCache,
    LatentCache,
    MultiHeadAttention,
    MultiHeadLatentAttention,
    RecallModel,
    RMSNorm,
    RotaryEmbedding,
    TextModel,
    absorbing_pays,
    attend,
    directions_for,
    keep_directions,
    keys_and_values,
    library_text,
    measure_rank,
    mla_multiplications,
    on_one_thread,
    recall_accuracy,
    recall_attention,
    recall_batch,
    rotary_frequencies,
    rotate,
    softmax_scale,
    split_text,
    text_loss,
    text_windows,
    train_recall,
    train_text_model,
    yarn_mscale,
)

TINY = DeepSeekConfig.from_dict(published_config("tiny"))
SEEDS = range(12)


def random_config(seed, **changes):
    """Small sizes, all of them different from each other where they can be; half with YaRN, half with query latents."""
    draw = random.Random(seed)
    scaling = YarnScaling(
        factor=draw.choice((1.5, 4.0, 40.0)),
        original_max_position_embeddings=draw.choice((16, 64, 4096)),
        beta_fast=draw.choice((32.0, 8.0)),
        mscale=draw.choice((1.0, 0.707)),
        mscale_all_dim=draw.choice((0.0, 1.0, 0.707)),
    )
    shapes = {
        "hidden_size": draw.randint(5, 40),
        "num_attention_heads": draw.randint(1, 5),
        "q_lora_rank": None if seed % 2 else draw.randint(2, 20),
        "kv_lora_rank": draw.randint(2, 24),
        "qk_nope_head_dim": draw.randint(1, 12),
        "qk_rope_head_dim": 2 * draw.randint(1, 6),
        "v_head_dim": draw.randint(1, 12),
        "rope_theta": draw.choice((100.0, 10000.0)),
        "rope_scaling": scaling if seed % 4 > 1 else None,
        "rms_norm_eps": draw.choice((1e-6, 1e-3)),
        "attention_bias": draw.random() < 0.3,
    }
    return replace(TINY, **(shapes | changes))


def wide(layer, seed, std=0.2):
    """Weights wide enough that a mistake anywhere shows; norms around one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in layer.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_((1.0 if "norm" in name else 0.0) + std * noise)
    return layer.requires_grad_(False)


def layer_of(config, seed=0, dtype=torch.float32):
    return wide(MultiHeadLatentAttention(config), seed).to(dtype)


def tokens(config, batch, seq, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(1000 + seed)
    return torch.randn(batch, seq, config.hidden_size, generator=generator, dtype=dtype)


def relative(ours, expected):
    return ((ours - expected).abs().max() / expected.abs().max()).item()


def their_attention(config):
    """transformers' layer of the same shape, and a function that runs it on a batch of whole sequences."""
    settings = asdict(config) | {
        "rope_scaling": None,
        "num_key_value_heads": config.num_attention_heads,
        "attn_implementation": "eager",
        "max_position_embeddings": 163840,
    }
    settings["rope_parameters"] = {"rope_theta": config.rope_theta, "rope_type": "default"}
    if config.rope_scaling is not None:
        settings["rope_parameters"] |= asdict(config.rope_scaling) | {"rope_type": "yarn"}
    their_config = transformers.DeepseekV3Config(**settings)
    layer = theirs.DeepseekV3Attention(their_config, layer_idx=0)
    rotary = theirs.DeepseekV3RotaryEmbedding(their_config)

    def run(x):
        seq = x.shape[1]
        mask = torch.full((seq, seq), -torch.inf).triu(1)[None, None]
        positions = torch.arange(seq)[None].expand(x.shape[0], -1)
        return layer(x, position_embeddings=rotary(x, positions), attention_mask=mask)[0]

    return layer.requires_grad_(False), run


@pytest.mark.parametrize("seed", range(16))
def test_the_layer_is_that_of_transformers(seed):
    config = random_config(seed)
    layer, run = their_attention(config)
    ours = layer_of(config, seed)
    layer.load_state_dict(
        ours.state_dict()
    )  # the same names, so the published weights fit as they are
    x = tokens(config, 2, 23, seed)
    assert relative(ours(x, absorbed=False), run(x)) < 1e-5
    assert relative(ours(x, absorbed=True), run(x)) < 1e-5
    cache = ours.new_cache()
    pieces = [ours(piece, cache) for piece in x.split([9, 1, 1, 12], dim=1)]
    assert relative(torch.cat(pieces, 1), run(x)) < 1e-5


@pytest.mark.parametrize("name", ["deepseek-v3", "kimi-k2"])
def test_frequencies_and_scale_of_the_real_models_are_those_of_transformers(name):
    content = published_config(name)
    config = DeepSeekConfig.from_dict(content)
    content.pop("model_type")
    their_config = transformers.DeepseekV3Config(**content)
    rotary = theirs.DeepseekV3RotaryEmbedding(their_config)
    ours = RotaryEmbedding(config.qk_rope_head_dim, config.rope_theta, config.rope_scaling)
    assert torch.allclose(ours.frequencies, rotary.inv_freq, rtol=1e-6, atol=0)
    assert ours.amplitude == pytest.approx(rotary.attention_scaling)
    d_qk = config.qk_nope_head_dim + config.qk_rope_head_dim
    expected = theirs.yarn_apply_mscale(their_config.rope_parameters, d_qk**-0.5)
    assert softmax_scale(d_qk, config.rope_scaling) == pytest.approx(expected)
    with torch.device("meta"):
        ours, layer = (
            MultiHeadLatentAttention(config),
            theirs.DeepseekV3Attention(their_config, layer_idx=0),
        )
    shapes = {key: value.shape for key, value in layer.state_dict().items()}
    assert {key: value.shape for key, value in ours.state_dict().items()} == shapes


@pytest.mark.parametrize("seed", SEEDS)
def test_absorbed_equals_naive_to_the_last_digits(seed):
    config = random_config(seed)
    layer = layer_of(config, seed, torch.float64)
    x = tokens(config, 3, 19, seed, torch.float64)
    assert relative(layer(x, absorbed=True), layer(x, absorbed=False)) < 1e-12


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("kind", [MultiHeadAttention, MultiHeadLatentAttention])
def test_biases_are_where_transformers_has_them(kind, bias):
    """On queries, keys, values and output; in latent attention on the projections down and on the output."""
    layer = kind(replace(TINY, attention_bias=bias))
    names = {name.split(".")[0] for name, _ in layer.named_parameters() if name.endswith("bias")}
    expected = {"q_proj", "k_proj", "v_proj", "o_proj"}
    if kind is MultiHeadLatentAttention:
        expected = {"q_a_proj", "kv_a_proj_with_mqa", "o_proj"}
    assert names == (expected if bias else set())


@pytest.mark.parametrize("kind", [MultiHeadAttention, MultiHeadLatentAttention])
def test_attention_runs_where_its_input_is(kind):
    """The device without data stands for any other than the processor."""
    layer = kind(TINY).to("meta")
    x = torch.empty(1, 3, TINY.hidden_size, device="meta")
    assert layer(x).device.type == "meta"


@pytest.mark.parametrize("absorbed", [True, False, None])
@pytest.mark.parametrize("seed", SEEDS)
def test_cached_decode_equals_recomputation(seed, absorbed):
    config = random_config(seed)
    layer = layer_of(config, seed, torch.float64)
    batch, seq, prompt = 3, 17, random.Random(seed).randint(1, 16)
    x = tokens(config, batch, seq, seed, torch.float64)
    full = layer(x)
    cache = layer.new_cache()
    steps = [layer(x[:, :prompt], cache, absorbed)]
    steps += [layer(x[:, t : t + 1], cache, absorbed) for t in range(prompt, seq)]
    assert relative(torch.cat(steps, 1), full) < 1e-12
    assert cache.length == seq
    one = [layer(x[2:3], absorbed=absorbed)]
    assert relative(one[0], full[2:3]) < 1e-12  # a sequence does not see the others of its batch


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cache_holds_the_latent_and_the_rotary_key_and_nothing_else(seed):
    config = random_config(seed)
    layer = layer_of(config, seed)
    cache = layer.new_cache()
    batch, seq = 2, 5 + seed
    layer(tokens(config, batch, seq), cache)
    layer(tokens(config, batch, 1), cache)
    n_tokens = batch * (seq + 1)
    per_token = config.kv_lora_rank + config.qk_rope_head_dim
    assert cache.entries.shape == (batch, seq + 1, per_token)
    assert cache.latent.shape == (batch, seq + 1, config.kv_lora_rank)
    assert cache.k_rope.shape == (batch, seq + 1, config.qk_rope_head_dim)
    tensors = [value for value in vars(cache._entries).values() if isinstance(value, torch.Tensor)]
    assert len(tensors) == 1 and set(vars(cache)) == {"kv_lora_rank", "_entries"}
    assert cache.entries.numel() == n_tokens * per_token
    spec = ModelSpec.from_config(config.to_dict())
    assert spec.attention.cached_numbers() == per_token
    exact = layer.new_cache()
    layer(tokens(config, batch, seq), exact)
    assert (
        exact._entries._store.numel() == batch * seq * per_token
    )  # a prefill leaves no spare room


@pytest.mark.parametrize("absorbed", [True, False])
@pytest.mark.parametrize("seed", SEEDS)
def test_a_later_token_never_changes_an_earlier_output(seed, absorbed):
    config = random_config(seed)
    layer = layer_of(config, seed)
    x = tokens(config, 2, 14, seed)
    before = layer(x, absorbed=absorbed)
    cut = random.Random(seed).randint(1, 13)
    changed = x.clone()
    changed[:, cut:] = 7.0 * tokens(config, 2, 14 - cut, seed + 1)
    after = layer(changed, absorbed=absorbed)
    assert torch.equal(before[:, :cut], after[:, :cut])
    assert not torch.allclose(before[:, cut:], after[:, cut:])


def test_position_counts_and_only_as_a_distance():
    config = random_config(0, rope_scaling=None)
    layer = layer_of(config, dtype=torch.float64)
    x = tokens(config, 1, 6, dtype=torch.float64)
    swapped = x[:, [1, 0, 2, 3, 4, 5]]
    assert relative(layer(swapped)[:, -1], layer(x)[:, -1]) > 1e-3
    cos, sin = layer.rotary(torch.arange(40))
    key, query = (tokens(config, 1, 1, s, torch.float64)[0, 0, :4] for s in (1, 2))
    four = (slice(None), slice(0, 2))
    turned_key, turned_query = (rotate(v.expand(40, 4), cos[four], sin[four]) for v in (key, query))
    scores = turned_query @ turned_key.T
    assert torch.allclose(scores[5:, 5:], scores[:-5, :-5], atol=1e-5)
    assert not torch.allclose(scores[0], scores[1], atol=1e-3)


@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
def test_the_twins_are_torchs_own_attention(n_kv_heads):
    config = random_config(1, hidden_size=30, num_attention_heads=6, v_head_dim=8)
    layer = wide(MultiHeadAttention(config, n_kv_heads, rotary_dim=0), 3).double()
    x = tokens(config, 2, 9, dtype=torch.float64)
    q, k, v = (
        projection(x).unflatten(-1, (-1, 8)).transpose(1, 2)
        for projection in (layer.q_proj, layer.k_proj, layer.v_proj)
    )
    mixed = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, enable_gqa=True, scale=layer.scale
    )
    assert relative(layer(x), layer.o_proj(mixed.transpose(1, 2).flatten(2))) < 1e-12


@pytest.mark.parametrize("n_kv_heads", [1, 2, 6])
@pytest.mark.parametrize("rotary_dim", [0, 4, None])
def test_the_twins_decode_as_they_read(n_kv_heads, rotary_dim):
    config = random_config(2, num_attention_heads=6, v_head_dim=8)
    layer = wide(MultiHeadAttention(config, n_kv_heads, rotary_dim), 4).double()
    x = tokens(config, 2, 9, dtype=torch.float64)
    full, cache = layer(x), layer.new_cache()
    steps = [layer(piece, cache) for piece in x.split([4, 1, 3, 1], dim=1)]
    assert relative(torch.cat(steps, 1), full) < 1e-12
    kept = cache.keys[0, :, 0].numel() + cache.values[0, :, 0].numel()
    assert kept == 2 * n_kv_heads * 8
    changed = x.clone()
    changed[:, 6:] = 1.0
    assert torch.equal(layer(changed)[:, :6], full[:, :6])
    rotary_matters = relative(layer(x[:, [1, 0, *range(2, 9)]])[:, -1], full[:, -1]) > 1e-3
    assert rotary_matters == (rotary_dim != 0)


def test_absorbed_latent_attention_is_multi_query_attention():
    """One key for all heads, whose first part is the value: written out here, loop by loop."""
    config = random_config(4)
    layer = layer_of(config, dtype=torch.float64)
    x = tokens(config, 1, 5, dtype=torch.float64)
    cos, sin = layer.rotary(torch.arange(5))
    q, rows = rotate(layer.queries(x), cos, sin)[0], rotate(layer.compress(x), cos, sin)[0]
    up = layer.kv_b_proj.weight.unflatten(0, (config.num_attention_heads, -1))
    nope, c = config.qk_nope_head_dim, config.kv_lora_rank
    outputs = torch.zeros(5, config.num_attention_heads, config.v_head_dim, dtype=torch.float64)
    for head in range(config.num_attention_heads):
        for t in range(5):
            wide_query = torch.cat((q[head, t, :nope] @ up[head, :nope], q[head, t, nope:]))
            weights = (layer.scale * rows[: t + 1] @ wide_query).softmax(0)
            outputs[t, head] = up[head, nope:] @ (weights @ rows[: t + 1, :c])
    assert relative(layer.o_proj(outputs.flatten(1))[None], layer(x, absorbed=True)) < 1e-12


def test_attend_masks_and_shares_keys():
    torch.manual_seed(0)
    q = torch.randn(2, 3, 2, 4, 5, dtype=torch.float64)
    k, v = torch.randn(2, 3, 7, 5).double(), torch.randn(2, 3, 7, 6).double()
    mixed = attend(q, k, v, 0.3)
    assert mixed.shape == (2, 3, 2, 4, 6)
    for query in range(4):
        seen = 7 - 4 + query + 1
        weights = (0.3 * k[1, 2, :seen] @ q[1, 2, 1, query]).softmax(0)
        assert torch.allclose(mixed[1, 2, 1, query], weights @ v[1, 2, :seen])


def test_a_norm_makes_the_mean_square_one():
    x = 5 * torch.randn(4, 9, dtype=torch.float64)
    norm = RMSNorm(9).double()
    assert torch.allclose(norm(x).pow(2).mean(-1), torch.ones(4).double(), atol=1e-5)
    assert torch.allclose(norm(x), F.rms_norm(x, (9,), norm.weight, 1e-6))
    assert RMSNorm(9, eps=1.0)(torch.ones(9))[0].item() == pytest.approx(0.5**0.5)


def test_growing_keeps_what_it_was_given_and_doubles_its_room():
    torch.manual_seed(0)
    rows = torch.randn(2, 3, 100, 4)
    grown, copies, store = GrowingTensor(), 0, None
    for t in range(100):
        grown.append(rows[:, :, t : t + 1])
        copies += store is not None and grown._store is not store
        store = grown._store
    assert torch.equal(grown.rows, rows)
    assert copies <= 7
    grown.truncate(40)
    assert torch.equal(grown.rows, rows[:, :, :40])
    grown.append(rows[:, :, 90:])
    assert torch.equal(grown.rows, torch.cat((rows[:, :, :40], rows[:, :, 90:]), 2))
    reserved = GrowingTensor(capacity=100)
    reserved.append(rows[:, :, :1])
    assert reserved._store.shape[-2] == 100 and reserved.length == 1


@pytest.mark.parametrize("kind", ["latent", "heads"])
def test_a_truncated_cache_decodes_as_if_the_draft_had_never_been(kind):
    config = random_config(3, num_attention_heads=4, v_head_dim=6)
    make = MultiHeadLatentAttention if kind == "latent" else MultiHeadAttention
    layer = wide(make(config), 5).double()
    x, draft = tokens(config, 2, 12, dtype=torch.float64), tokens(config, 2, 3, 9, torch.float64)
    full = layer(x)
    cache = layer.new_cache()
    layer(x[:, :8], cache)
    layer(draft, cache)
    cache.truncate(8)
    assert cache.length == 8
    assert relative(layer(x[:, 8:], cache), full[:, 8:]) < 1e-12
    cache.truncate(0)
    assert relative(layer(x, cache), full) < 1e-12


def test_the_cache_keeps_no_gradient_and_training_needs_none():
    layer = MultiHeadLatentAttention(TINY)
    x = torch.randn(1, 4, TINY.hidden_size)
    cache = layer.new_cache()
    layer(x, cache)
    assert not cache.entries.requires_grad
    layer(x).sum().backward()
    assert all(parameter.grad is not None for parameter in layer.parameters())
    absorbed = MultiHeadLatentAttention(TINY)
    absorbed.load_state_dict(layer.state_dict())
    absorbed(x, absorbed=True).sum().backward()
    for ours, other in zip(layer.parameters(), absorbed.parameters(), strict=True):
        assert torch.allclose(ours.grad, other.grad, atol=1e-5)


@pytest.mark.parametrize("seed", SEEDS)
def test_multiplications_are_those_that_torch_counts(seed):
    # width 2 or more: with width 1 torch multiplies without a matrix product, which its counter does not see
    config = random_config(seed, qk_nope_head_dim=2 + seed, v_head_dim=13 - seed)
    layer = layer_of(config, seed)
    draw = random.Random(seed)
    past, seq = draw.randint(0, 9), draw.randint(1, 9)
    for absorbed in (True, False):
        cache = layer.new_cache()
        if past:
            layer(tokens(config, 1, past), cache)
        with FlopCounterMode(display=False) as counter:
            layer(tokens(config, 1, seq), cache, absorbed)
        expected = 2 * mla_multiplications(config, seq, past + seq, absorbed)
        assert counter.get_total_flops() == expected


def test_multiplications_agree_with_the_budget():
    config = DeepSeekConfig.from_dict(published_config("deepseek-v3"))
    attention = ModelSpec.from_config(published_config("deepseek-v3")).attention
    matrices = attention.matrix_entries(config.hidden_size)
    for n in (
        1,
        50,
        4096,
    ):  # a whole sequence at once: every matrix once a token, every key for every token
        counted = mla_multiplications(config, n, n, absorbed=False)
        assert counted == n * matrices + n * n * attention.multiplications_per_key()
    one_more = mla_multiplications(config, 1, 11, True) - mla_multiplications(config, 1, 10, True)
    assert one_more == 128 * (512 + 64 + 512)
    assert mla_multiplications(config, 1, 10, True) == matrices + 10 * one_more


def test_absorbing_pays_in_decode_and_not_in_prefill():
    config = DeepSeekConfig.from_dict(published_config("deepseek-v3"))
    assert absorbing_pays(config, 1, 4096) and absorbing_pays(config, 2, 4096)
    assert not absorbing_pays(config, 4096, 4096)
    layer = layer_of(TINY)
    calls = []
    for name in ("attend_naive", "attend_absorbed"):
        method = getattr(layer, name)
        setattr(layer, name, lambda *a, n=name, m=method: (calls.append(n), m(*a))[1])
    cache = layer.new_cache()
    layer(tokens(TINY, 1, 9))
    layer(tokens(TINY, 1, 9), cache)
    layer(tokens(TINY, 1, 1), cache)
    assert calls[0] == "attend_naive" and calls[2] == "attend_absorbed"


def test_yarn_slows_the_slow_pairs_only():
    scaling = YarnScaling(40, 4096, mscale=1.0, mscale_all_dim=1.0)
    plain, stretched = rotary_frequencies(64, 1e4, None), rotary_frequencies(64, 1e4, scaling)
    ratio = plain / stretched
    assert ratio[0] == 1 and ratio[-1].item() == pytest.approx(40)
    assert (ratio.diff() >= -1e-5).all()
    assert yarn_mscale(1.0) == yarn_mscale(0.5) == 1
    assert yarn_mscale(40) == pytest.approx(1.3688879)
    assert softmax_scale(192, scaling) == pytest.approx(192**-0.5 * 1.3688879**2)


def test_recall_batches_are_what_they_say_and_depend_on_the_generator_alone():
    first = recall_batch(torch.Generator().manual_seed(5), 64)
    torch.manual_seed(99)
    second = recall_batch(torch.Generator().manual_seed(5), 64)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    other = recall_batch(torch.Generator().manual_seed(6), 64)
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    keys, values, asked = first
    assert keys.shape == (64, N_FACTS) and asked.shape == (64, N_QUESTIONS)
    assert values.shape == (64, N_FACTS, N_ATTRIBUTES)
    assert all(len(set(row.tolist())) == N_FACTS for row in keys)
    assert 0 <= keys.min() and keys.max() == N_KEYS - 1
    assert values.min() == 0 and values.max() == N_VALUES - 1
    assert asked.min() == 0 and asked.max() == N_FACTS - 1


@pytest.mark.parametrize("kind", ["heads", "latent"])
@pytest.mark.parametrize("norm", [True, False])
def test_recall_models_keep_what_they_claim_and_have_equal_parameters(kind, norm):
    for cached in (8, 16, 32, 64):
        attention = recall_attention(kind, cached, 0, norm)
        cache = attention.new_cache()
        attention(torch.randn(1, 3, 64), cache)
        kept = (
            cache.entries
            if kind == "latent"
            else torch.cat((cache.keys, cache.values), -1).transpose(1, 2).flatten(2)
        )
        assert kept[0, 0].numel() == cached
        model = RecallModel(attention, 64, 48_000)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        assert abs(parameters - 60_600) < 120
        without_order = attention(torch.arange(192.0).view(1, 3, 64).sin()[:, [1, 0, 2]])
        assert torch.allclose(
            without_order[:, -1],
            attention(torch.arange(192.0).view(1, 3, 64).sin())[:, -1],
            atol=1e-5,
        )


def test_an_answer_needs_the_fact():
    torch.manual_seed(0)
    model = RecallModel(recall_attention("heads", 128, 0, False), 64, 48_000)
    keys, values, asked = recall_batch(torch.Generator().manual_seed(0), 2)
    before = model(keys, values, asked)
    changed = values.clone()
    changed[0, asked[0, 0]] = (changed[0, asked[0, 0]] + 1) % N_VALUES
    after = model(keys, changed, asked)
    assert not torch.allclose(before[0, 0], after[0, 0])
    assert torch.equal(before[1], after[1])


def test_training_learns_and_repeats():
    assert (
        train_recall("latent", 64, 0, True, seed=3, steps=200)["accuracy"] > 0.2
    )  # a guess is right once in 16
    first, second, other = (
        train_recall("heads", 64, 8, False, seed=seed, steps=20)["accuracy"] for seed in (3, 3, 4)
    )
    assert first == second != other


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (
            lambda: MultiHeadAttention(TINY, 3),
            "n_kv_heads: expected a divisor of the 2 heads, got 3",
        ),
        (lambda: MultiHeadAttention(TINY, 0), "n_kv_heads: expected a whole number"),
        (lambda: MultiHeadAttention(TINY, rotary_dim=6), "rotary_dim: expected at most 4, got 6"),
        (lambda: RotaryEmbedding(3), "dim: expected an even number, got 3"),
        (lambda: RotaryEmbedding(4, theta=0.0), "theta: expected a finite number above zero"),
        (lambda: GrowingTensor(-1), "capacity: expected a whole number"),
        (lambda: LatentCache(TINY).truncate(1), "length: expected at most 0 cached tokens, got 1"),
        (
            lambda: layer_of(TINY)(torch.zeros(1, 2, 5)),
            r"x: expected (batch, seq, 8), got (1, 2, 5)",
        ),
        (lambda: layer_of(TINY)(torch.zeros(2, 8)), "x: expected (batch, seq, 8), got (2, 8)"),
        (
            lambda: layer_of(TINY)(torch.zeros(1, 2, 8), KeyValueCache()),
            "cache: expected a LatentCache or None, got KeyValueCache",
        ),
        (
            lambda: mixed_batches(),
            "cache: expected rows like (2, 3, 6) of torch.float32, got (1, 1, 6) of torch.float32",
        ),
        (
            lambda: RecallModel(recall_attention("heads", 128, 0, False), 64, 100),
            "block_parameters: expected more than",
        ),
        (lambda: recall_attention("heads", 24, 0, True), "cached: expected 8, 16, 32, 64 or 128"),
        (lambda: recall_attention("heads", 256, 0, True), "cached: expected 8, 16, 32, 64 or 128"),
        (lambda: recall_attention("latent", 4, 0, True), "cached: expected a whole number from 5"),
        (lambda: recall_attention("latent", 16, 0, 1), "norm: expected true or false, got 1"),
        (lambda: train_recall("heads", 16, 0, True, 0, steps=10), "steps: expected a whole number"),
        (lambda: measure_rank(0, 10), "steps: expected a whole number"),
        (lambda: train_recall("heads", 16, 0, True, 0, 20, -1.0), "learning_rate: expected"),
        (lambda: train_recall("heads", 16, 0, True, -1, 20), "seed: expected a whole number"),
        (lambda: recall_batch(torch.Generator(), 0), "batch: expected a whole number"),
        (lambda: directions_for(2.0, torch.ones(4)), "energy: expected above 0 and at most 1"),
        (lambda: directions_for(float("nan"), torch.ones(4)), "energy: expected above 0"),
        (lambda: LatentCache(TINY).entries, "cache: expected at least one token, it is empty"),
        (lambda: LatentCache(TINY).latent, "cache: expected at least one token, it is empty"),
        (lambda: KeyValueCache().keys, "cache: expected at least one token, it is empty"),
        (lambda: mixed_precision(0), "of torch.float32, got (1, 1, 6) of torch.float64"),
        (lambda: mixed_precision(32), "of torch.float32, got (1, 1, 6) of torch.float64"),
        (lambda: softmax_scale(-192, None), "d_qk: expected a whole number"),
        (lambda: softmax_scale(0, None), "d_qk: expected a whole number"),
        (lambda: yarn_mscale(float("nan")), "factor: expected a finite number"),
        (
            lambda: RotaryEmbedding(4, 1.0, YarnScaling(40, 4096)),
            "theta: expected more than 1 with YaRN, got 1.0",
        ),
        (lambda: rotate(torch.ones(1, 3), *torch.ones(2, 1, 2)), "x: expected at least 4 numbers"),
        (lambda: mla_multiplications(TINY, -1, 5, True), "seq: expected a whole number from 0"),
        (lambda: mla_multiplications(TINY, 6, 5, True), "n_keys: expected a whole number from 6"),
        (lambda: absorbing_pays(TINY, 2.5, 5), "seq: expected a whole number"),
        (
            lambda: attend(torch.ones(1, 1, 1, 3, 2), *torch.ones(2, 1, 1, 2, 2), 1.0),
            "q: expected at most 2 queries, got 3",
        ),
        (lambda: MultiHeadAttention(TINY, rotary_dim=3), "rotary_dim: expected an even number"),
        (
            lambda: MultiHeadAttention(replace(TINY, v_head_dim=5)),
            "rotary_dim: expected an even number, got 5",
        ),
        (lambda: MultiHeadAttention({}), "config: expected a DeepSeekConfig, got {}"),
        (lambda: MultiHeadLatentAttention(None), "config: expected a DeepSeekConfig, got None"),
        (lambda: layer_of(TINY)("abc"), "x: expected (batch, seq, 8), got 'abc'"),
        (lambda: MultiHeadAttention(TINY)(None), "x: expected (batch, seq, 8), got None"),
        (lambda: MultiHeadAttention(TINY)(torch.zeros(2, 8)), "x: expected (batch, seq, 8)"),
        (
            lambda: MultiHeadAttention(TINY)(torch.zeros(1, 2, 8), LatentCache(TINY)),
            "cache: expected a KeyValueCache or None, got LatentCache",
        ),
        (
            lambda: layer_of(TINY)(torch.zeros(1, 2, 8, dtype=torch.long)),
            "x: expected floating-point numbers, got torch.int64",
        ),
        (
            lambda: layer_of(TINY)(torch.zeros(1, 2, 8), absorbed="no"),
            "absorbed: expected true or false, got 'no'",
        ),
        (lambda: recall_attention("tail", 64, 0, True), "kind: expected one of heads, latent"),
        (lambda: recall_attention("latent", 64, 8, True), "rotary_dim: expected 0 or 4, got 8"),
    ],
)
def test_bad_input_is_refused_by_name(work, message):
    with pytest.raises(ValueError) as caught:
        work()
    assert message in str(caught.value)


def mixed_batches():
    layer = layer_of(TINY)
    cache = layer.new_cache()
    layer(torch.zeros(2, 3, 8), cache)
    layer(torch.zeros(1, 1, 8), cache)


def mixed_precision(capacity):
    layer = layer_of(TINY)
    cache = layer.new_cache(capacity)
    layer(torch.zeros(1, 3, 8), cache)
    try:
        layer.double()(torch.zeros(1, 1, 8).double(), cache)
    finally:
        assert cache.length == 3  # what was refused left nothing behind


def test_a_cache_takes_no_tokens_and_after_forgetting_all_any_batch():
    layer = layer_of(TINY)
    x = tokens(TINY, 2, 5)
    cache = layer.new_cache()
    assert layer(x[:, :0], cache).shape == (2, 0, 8)
    assert relative(layer(x, cache), layer(x)) < 1e-5
    assert layer(x[:, :0], cache).shape == (2, 0, 8) and cache.length == 5
    cache.truncate(0)
    assert relative(layer(x[:1], cache), layer(x[:1])) < 1e-5
    cache.truncate(0)
    layer.double()
    assert relative(layer(x.double(), cache), layer(x.double())) < 1e-12


def test_far_positions_are_those_of_transformers():
    config = random_config(4)
    layer, run = their_attention(config)
    ours = layer_of(config)
    layer.load_state_dict(ours.state_dict())
    x = tokens(config, 1, 600)
    assert relative(ours(x)[:, 300:], run(x)[:, 300:]) < 1e-5


def test_the_norm_of_a_recall_model_is_where_it_is_said_to_be():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 64)
    for kind in ("heads", "latent"):
        for norm in (True, False):
            attention = recall_attention(kind, 32, 0, norm)
            cache = attention.new_cache()
            attention(x, cache)
            kept = [cache.latent] if kind == "latent" else [cache.keys, cache.values]
            for rows in kept:
                rows = rows if kind == "latent" else rows.transpose(1, 2).flatten(2)
                ones = torch.ones(rows.shape[:2])
                assert torch.allclose(rows.pow(2).mean(-1), ones, atol=1e-3) == norm


@pytest.mark.parametrize(("kind", "turned"), [("latent", 4), ("heads", 4), ("heads", 8)])
def test_turned_keys_of_a_recall_model_see_the_order(kind, turned):
    torch.manual_seed(0)
    attention = recall_attention(kind, 32, turned, True)
    x = torch.randn(1, 3, 64)
    assert not torch.allclose(attention(x[:, [1, 0, 2]])[:, -1], attention(x)[:, -1], atol=1e-4)


def test_the_learning_rate_counts_and_the_test_is_not_the_training():
    runs = [train_recall("heads", 64, 0, True, 0, 40, rate) for rate in (1e-4, 1e-2)]
    assert runs[0]["accuracy"] != runs[1]["accuracy"]
    assert [run["learning_rate"] for run in runs] == [1e-4, 1e-2]
    asked_with = []
    model = torch.nn.Module()

    def forward(keys, values, asked):
        asked_with.append(keys)
        return torch.zeros(*asked.shape, N_ATTRIBUTES, N_VALUES)

    model.forward = forward
    recall_accuracy(model)
    for seed in range(10):  # the streams of data that a training could use
        assert not torch.equal(
            recall_batch(torch.Generator().manual_seed(seed), 500)[0], asked_with[0]
        )


def test_a_failed_training_gives_the_threads_back():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    with pytest.raises(ValueError):
        train_recall("heads", 64, 0, True, 0, steps=20, block_parameters=1)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_work_on_one_thread_is_on_one():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    assert on_one_thread(torch.get_num_threads)() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_each_step_of_a_training_has_its_own_gradient(steps_taken):
    train_text_model(TextModel(), torch.zeros(200, dtype=torch.uint8), seed=0, steps=12)
    train_recall("heads", 64, 0, True, 0, steps=12, learning_rate=1e-3)
    assert len(steps_taken) == 24
    assert all(math.isfinite(step["gradient"]) for step in steps_taken)
    assert max(step["rate"] for step in steps_taken[:12]) <= 3e-3
    assert max(step["rate"] for step in steps_taken[12:]) <= 1e-3
    assert all(step["decays"] == {0.0} for step in steps_taken[12:])


def test_directions_count_squares():
    values = torch.tensor([3.0, 1.0])  # nine tenths and one tenth of the energy
    assert directions_for(0.89, values) == 1 and directions_for(0.95, values) == 2
    assert directions_for(1.0, torch.tensor([3.0, 1.0, 0.0])) <= 3


def test_keeping_directions_projects_keys_and_values():
    torch.manual_seed(0)
    model = TextModel().requires_grad_(False)
    windows = text_windows(library_text(), torch.arange(4) * 1000)
    basis = torch.linalg.qr(torch.randn(256, 256)).Q
    whole = keep_directions(model, [basis, basis])
    assert text_loss(whole, windows).item() == pytest.approx(
        text_loss(model, windows).item(), abs=1e-4
    )
    few = keep_directions(model, [basis[:, :3], basis[:, :3]])
    for rows in keys_and_values(few, windows[:, :-1]):
        for half in rows.chunk(2, dim=-1):
            assert torch.linalg.matrix_rank(half, rtol=1e-4) <= 3
        assert torch.linalg.matrix_rank(rows, rtol=1e-4) == 3


def test_unseen_text_is_not_trained_on():
    text = torch.arange(1000)
    train, unseen = split_text(text)
    assert torch.equal(torch.cat((train, unseen)), text) and len(train) == 900


def test_ranks_are_measured_and_repeat():
    first, second = (measure_rank(1, 12, (4, 128)) for _ in range(2))
    first.pop("seconds"), second.pop("seconds")
    assert first == second
    assert first["bits_per_byte"] < 7  # a byte of which nothing is known has 8
    for chosen_by in ("weights", "activations"):
        _, all_of_them = first["cut"][chosen_by]
        assert all_of_them == pytest.approx(first["bits_per_byte"], abs=1e-3)
    assert all(1 <= n <= 128 for counts in first["directions"].values() for n in counts)
    recorded = Path(mla.__file__).with_name("recorded") / "mla.json"
    for run in json.loads(recorded.read_text(encoding="utf-8"))["rank"]:
        assert first.keys() <= run.keys()
        assert run["directions"].keys() <= first["directions"].keys()


def test_the_record_is_what_the_experiment_asks_for(monkeypatch):
    root = Path(__file__).resolve().parent.parent
    monkeypatch.syspath_prepend(root / "experiments")
    path = root / "experiments" / "mla.py"
    spec = importlib.util.spec_from_file_location("experiment", path)
    experiment = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(experiment)
    record = json.loads(experiment.RECORD.read_text(encoding="utf-8"))
    recall = sorted(tuple(run["job"]) for run in record["recall"])
    assert recall == sorted(experiment.RECALL)
    assert sorted(tuple(run["job"]) for run in record["rank"]) == experiment.RANK
    for run in record["recall"]:
        names = ("kind", "cached", "rotary_dim", "norm", "seed", "steps", "learning_rate")
        assert run["job"] == [run[name] for name in names]
        assert len(run["curve"]) == run["steps"] // 100 and run["accuracy"] == run["curve"][-1]
    parameters = [run["parameters"] for run in record["recall"]]
    assert max(parameters) < 1.003 * min(parameters)  # what the chapter says
