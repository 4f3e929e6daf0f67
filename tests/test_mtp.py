"""The block and the module against transformers; draft-and-verify against plain generation and exact enumeration."""

import json
import math
import os
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from transformers.modeling_layers import MtpModel
from transformers.models.deepseek_v3 import modeling_deepseek_v3 as theirs

from deepseek_explained import mtp
from deepseek_explained.budget import ModelSpec, count_parameters
from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.facts import fact
from deepseek_explained.mtp import (
    Block,
    LayerCaches,
    MainModel,
    ModuleDrafter,
    MultiTokenPredictionModule,
    ParallelHead,
    PathModel,
    TableDrafter,
    TableModel,
    accept_above,
    accept_or_resample,
    acceptance,
    chi_square,
    draw,
    expected_tokens,
    library_split,
    measure_speculation,
    new_extra,
    path_losses,
    path_star_batch,
    plain_generate,
    predicted_acceptance,
    probabilities,
    rule_distribution,
    shifted_loss,
    speculative_generate,
    text_config,
    threshold_distribution,
    train_path,
    train_text,
    training_losses,
    walked_acceptance,
)

torch.set_num_threads(1)  # thousands of small products
TINY = DeepSeekConfig.from_dict(published_config("tiny"))
NAMES = {"router.weight": "gate.weight", "router.bias": "gate.e_score_correction_bias"}


def random_config(seed, **changes):
    """Small sizes, different from each other where they can be; one in three models all dense, one in three none."""
    choose = random.Random(seed)
    layers = choose.randint(1, 3)
    shapes = {
        "vocab_size": choose.randint(5, 30),
        "hidden_size": 8 * choose.randint(1, 4),
        "intermediate_size": choose.randint(5, 40),
        "moe_intermediate_size": 4 * choose.randint(1, 4),
        "num_hidden_layers": layers,
        "first_k_dense_replace": (layers, 0, layers // 2)[seed % 3],
        "num_attention_heads": choose.randint(1, 4),
        "q_lora_rank": None if seed % 2 else choose.randint(2, 20),
        "kv_lora_rank": choose.randint(2, 24),
        "qk_nope_head_dim": choose.randint(1, 12),
        "qk_rope_head_dim": 2 * choose.randint(1, 6),
        "v_head_dim": choose.randint(1, 12),
        "rms_norm_eps": choose.choice((1e-6, 1e-3)),
        "norm_topk_prob": choose.random() < 0.7,
        "max_position_embeddings": 4096,
    }
    return replace(TINY, **(shapes | changes))


def wide(module, seed, std=0.3):
    """Weights wide enough that a mistake anywhere shows; norms around one, routers' biases not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
            tensor.copy_((1.0 if "norm" in name else 0.0) + std * noise)
    return module.requires_grad_(False)


def model_and_module(seed, dtype=torch.float64, **changes):
    """In float64, so that two ways of adding up the same numbers do not differ in the greatest logit."""
    config = random_config(seed, **changes)
    model = wide(MainModel(config), seed).to(dtype)
    return model, wide(MultiTokenPredictionModule(config), seed + 1000).to(dtype)


def tokens(config, batch, seq, seed=0):
    generator = torch.Generator().manual_seed(2000 + seed)
    return torch.randint(config.vocab_size, (batch, seq), generator=generator)


def relative(ours, expected):
    return ((ours - expected).abs().max() / expected.abs().max()).item()


# Against transformers


def their_names(state, block_prefix="", block_name=""):
    renamed = {}
    for name, tensor in state.items():
        for ours, other in NAMES.items():
            name = name.replace(ours, other)
        renamed[name.replace(block_prefix, block_name) if block_prefix else name] = tensor
    return renamed


def their_model(ours):
    settings = {
        name: value for name, value in ours.config.to_dict().items() if name != "model_type"
    }
    config = transformers.DeepseekV3Config(
        **settings,
        num_key_value_heads=ours.config.num_attention_heads,
        attn_implementation="eager",
        experts_implementation="eager",
    )
    model = theirs.DeepseekV3ForCausalLM(config)
    state = {
        (name if name.startswith("lm_head") else f"model.{name}"): tensor
        for name, tensor in their_names(ours.state_dict()).items()
    }
    model.load_state_dict(state)
    return model.eval().requires_grad_(False)


@pytest.mark.parametrize("seed", range(12))
def test_model_and_module_are_those_of_transformers(seed):
    model, module = model_and_module(seed, torch.float32)
    other = their_model(model)
    other_mtp = MtpModel(other, 1).eval().requires_grad_(False)
    state = their_names(module.state_dict())
    state = {
        f"layers.0.{name.replace('block.', 'mtp_block.')}".replace(
            "0.norm.", "0.post_norm."
        ): tensor
        for name, tensor in state.items()
    }
    missing, unexpected = other_mtp.load_state_dict(state, strict=False)
    assert not unexpected
    assert all(name.startswith(("embed_tokens", "shared_head")) for name in missing)
    ids = tokens(model.config, 2, 13, seed)
    hidden = model.hidden_states(ids)
    output = other.model(ids, use_cache=False).last_hidden_state
    assert relative(hidden, output) < 1e-5
    positions = torch.arange(1, 13)[None].expand(2, -1)
    expected = other_mtp.forward_layer(0, output[:, :-1], positions, None, input_ids=ids[:, 1:])
    ours = module(hidden[:, :-1], model.embed_tokens(ids[:, 1:]))
    assert relative(ours, expected) < 1e-5
    assert relative(model.lm_head(ours), other_mtp._project_to_logits(expected)) < 1e-5
    cache = module.new_cache()  # and token by token
    steps = [
        module(hidden[:, t : t + 1], model.embed_tokens(ids[:, t + 1 : t + 2]), cache)
        for t in range(12)
    ]
    assert relative(torch.cat(steps, 1), expected) < 1e-5


def test_the_true_shape_has_the_published_number_of_parameters():
    config = DeepSeekConfig.from_dict(published_config("deepseek-v3"))
    with torch.device("meta"):
        module = MultiTokenPredictionModule(config)
    biases = module.block.mlp.router.bias.numel()
    n = sum(parameter.numel() for parameter in module.parameters()) + biases
    assert n == 11_610_068_224
    assert n == count_parameters(ModelSpec.from_config(published_config("deepseek-v3"))).mtp


def test_a_block_is_dense_or_not_by_its_layer():
    config = replace(TINY, num_hidden_layers=3, first_k_dense_replace=2)
    kinds = [type(Block(config, layer).mlp).__name__ for layer in range(4)]
    assert kinds == ["FeedForward", "FeedForward", "MixtureOfExperts", "MixtureOfExperts"]
    assert type(MultiTokenPredictionModule(config).block.mlp).__name__ == "MixtureOfExperts"
    assert type(MultiTokenPredictionModule(config, layer=0).block.mlp).__name__ == "FeedForward"


# Losses


@pytest.mark.parametrize("seed", range(4))
def test_losses_are_those_added_up_by_hand(seed):
    model, module = model_and_module(seed)
    ids = tokens(model.config, 2, 7, seed)
    hidden = model.hidden_states(ids)
    main = mtp = count = 0.0
    for row in range(2):
        for t in range(6):
            log_p = model.lm_head(hidden[row, t]).log_softmax(-1)
            main -= log_p[ids[row, t + 1]] / 12
        for t in range(5):  # sees tokens 0 to t + 1, predicts t + 2
            states = module(
                hidden[row : row + 1, : t + 1], model.embed_tokens(ids[row : row + 1, 1 : t + 2])
            )
            mtp -= model.lm_head(states[0, -1]).log_softmax(-1)[ids[row, t + 2]] / 10
            count += 1
    ours = training_losses(model, module, ids)
    assert torch.allclose(ours[0], main) and torch.allclose(ours[1], mtp)
    assert training_losses(model, None, ids)[1] == 0


def test_the_module_sees_the_next_token_and_the_parallel_head_does_not():
    model, module = model_and_module(3)
    head = wide(ParallelHead(model.config), 5).double()
    ids = tokens(model.config, 1, 8)
    changed = ids.clone()
    changed[0, 5] = (ids[0, 5] + 1) % model.config.vocab_size
    hidden, other = model.hidden_states(ids), model.hidden_states(changed)
    assert torch.equal(hidden[:, :5], other[:, :5])
    a = module(hidden[:, :-1], model.embed_tokens(ids[:, 1:]))
    b = module(other[:, :-1], model.embed_tokens(changed[:, 1:]))
    assert torch.equal(a[:, :4], b[:, :4]) and not torch.allclose(a[:, 4], b[:, 4])
    assert torch.equal(head(hidden)[:, :5], head(other)[:, :5])


def test_the_module_teaches_embedding_head_and_main_model():
    config = random_config(1)
    model, module = MainModel(config), MultiTokenPredictionModule(config)
    _, mtp = training_losses(model, module, tokens(config, 2, 9))
    mtp.backward()
    for name, parameter in [*model.named_parameters(), *module.named_parameters()]:
        if "experts" not in name:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_shifted_loss_refuses_what_has_no_target():
    with pytest.raises(ValueError, match="logits: expected 1 to 3 positions, got 4"):
        shifted_loss(torch.zeros(1, 4, 5), torch.zeros(1, 5, dtype=torch.long), ahead=2)


# The rule


def random_pair(seed, vocab=7, rows=50):
    """p and q of many kinds: close, far, with zeros, one-hot."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, vocab, generator=generator, dtype=torch.float64)
    noise = torch.randn(rows, vocab, generator=generator, dtype=torch.float64)
    p = logits.softmax(-1)
    q = (logits + (0.1, 1.0, 5.0)[seed % 3] * noise).softmax(-1)
    if seed % 2:
        p = p * (torch.rand(rows, vocab, generator=generator) < 0.5)
        p[:, 0] += 1e-3
        q = q * (torch.rand(rows, vocab, generator=generator) < 0.5)
        q[:, 1] += 1e-3
    return p / p.sum(-1, keepdim=True), q / q.sum(-1, keepdim=True)


@pytest.mark.parametrize("seed", range(12))
def test_the_rule_gives_out_p(seed):
    p, q = random_pair(seed)
    assert torch.allclose(rule_distribution(p, q), p, rtol=0, atol=1e-12)
    assert torch.allclose(rule_distribution(p, p), p, rtol=0, atol=1e-12)
    assert torch.allclose(acceptance(p, q), 1 - (p - q).abs().sum(-1) / 2)
    assert not torch.allclose(threshold_distribution(p, q, 0.8), p, atol=1e-3)


@pytest.mark.parametrize("rule, same", [(accept_or_resample, True), (accept_above(0.8), False)])
@pytest.mark.parametrize("seed", range(3))
def test_the_code_of_the_rule_does_what_its_formula_says(rule, same, seed):
    p, q = (rows[:1] for rows in random_pair(2 * seed, vocab=4))
    if not same:
        p = torch.tensor([[0.85, 0.05, 0.05, 0.05]], dtype=torch.float64)
        q = torch.tensor([[0.5, 0.2, 0.2, 0.1]], dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    n = 5_000
    counts, accepted = torch.zeros(4), 0
    both = torch.cat((p, p))
    for draft in q[0].multinomial(n, replacement=True, generator=generator)[:, None]:
        out = rule(both, q, draft, generator)
        counts[out[0]] += 1
        accepted += len(out) - 1
    formula = rule_distribution(p, q) if same else threshold_distribution(p, q, 0.8)
    assert chi_square(counts, n * formula[0]) > 1e-4
    if same:
        assert abs(accepted / n - acceptance(p, q).item()) < 0.02
    else:
        assert chi_square(counts, n * p[0]) < 1e-9


def test_temperature_zero_is_the_greatest_logit_and_high_temperature_is_flat():
    logits = torch.tensor([[1.0, 3.0, 2.0]])
    assert probabilities(logits, 0).tolist() == [[0, 1, 0]]
    assert torch.allclose(probabilities(logits, 2.0), F.softmax(logits / 2, -1))
    for bad in (-1.0, float("nan"), True, "warm"):
        with pytest.raises(ValueError, match="temperature"):
            probabilities(logits, bad)


@pytest.mark.parametrize("a, g", [(0.0, 3), (0.3, 1), (0.8, 4), (1.0, 5)])
def test_expected_tokens_is_the_closed_formula(a, g):
    closed = g + 1 if a == 1 else (1 - a ** (g + 1)) / (1 - a)
    assert expected_tokens(a, g) == pytest.approx(closed)


def test_expected_tokens_in_a_simulation():
    generator = torch.Generator().manual_seed(0)
    q = torch.tensor([0.5, 0.5]).expand(3, 2)
    p = torch.tensor([0.8, 0.2]).expand(4, 2)
    total = 0
    for _ in range(4000):
        total += len(accept_or_resample(p, q, draw(q, generator), generator))
    assert total / 4000 == pytest.approx(expected_tokens(0.7, 3), rel=0.02)


def test_the_rule_refuses_shapes_that_do_not_fit():
    p, q, drafts = torch.ones(3, 4) / 4, torch.ones(2, 4) / 4, torch.tensor([0, 1])
    accept_or_resample(p, q, drafts)
    for wrong in (
        (p[:2], q, drafts),
        (p, q[:1], drafts),
        (p, q, drafts[:1]),
        (p, q[:, :3], drafts),
    ):
        with pytest.raises(ValueError, match="p, q: expected"):
            accept_or_resample(*wrong)


# Generation


class Watched:
    """A main model that notes how long its cache was before each pass and how many tokens came."""

    def __init__(self, model):
        self.model, self.passes = model, []
        self.embed_tokens, self.lm_head = model.embed_tokens, model.lm_head

    def new_cache(self, capacity=0):
        self.cache = self.model.new_cache(capacity)
        return self.cache

    def hidden_states(self, ids, cache):
        self.passes.append((cache.length, ids.shape[1]))
        return self.model.hidden_states(ids, cache)


class Oracle:
    """Drafts what the main model itself would say, or, with sign=-1, what it would say least."""

    def __init__(self, model, prompts, sign=1):
        self.model, self.sign = model, sign
        self.firsts = iter(prompts[:, 0].tolist())

    def start(self, capacity=0):
        self.known = [next(self.firsts)]

    def draft(self, following, states, n_draft, temperature, generator=None):
        self.known += following.tolist()
        line = torch.tensor([self.known])
        drafts, q = [], []
        for _ in range(n_draft):
            logits = self.model.lm_head(self.model.hidden_states(line)[0, -1])
            q.append(probabilities(self.sign * logits, temperature))
            drafts.append(draw(q[-1], generator))
            line = torch.cat((line, drafts[-1][None, None]), dim=1)
        return torch.stack(drafts), torch.stack(q)


@pytest.mark.parametrize("n_draft", [1, 3])
@pytest.mark.parametrize("seed", range(8))
def test_greedy_speculation_is_plain_greedy(seed, n_draft):
    model, module = model_and_module(seed)
    prompts = tokens(model.config, 2, 1 + seed % 5, seed)
    plain = plain_generate(model, prompts, 20)
    drafters = {
        "module": ModuleDrafter(model, module),
        "oracle": Oracle(model, prompts),
        "adversary": Oracle(model, prompts, sign=-1),
    }
    for name, drafter in drafters.items():
        fast = speculative_generate(model, drafter, prompts, 20, n_draft=n_draft)
        assert torch.equal(fast.token_ids, plain.token_ids), name
        # each pass gives one token and the drafts that it accepted
        assert fast.passes + fast.accepted == 2 * 20 == plain.passes
        if name == "oracle":
            assert fast.accepted == fast.drafted
            assert fast.passes == 2 * (1 + -(-19 // (n_draft + 1)))
        if name == "adversary":
            assert fast.accepted == 0


def test_plain_greedy_is_the_greatest_logit_of_a_fresh_pass():
    model, _ = model_and_module(4)
    prompts = tokens(model.config, 2, 3)
    ids = prompts
    for _ in range(9):
        ids = torch.cat((ids, model(ids)[:, -1].argmax(-1, keepdim=True)), dim=1)
    assert torch.equal(plain_generate(model, prompts, 9).token_ids, ids)


@pytest.mark.parametrize("seed", range(6))
def test_what_was_rejected_is_forgotten_and_nothing_else(seed):
    """The cache holds, after any number of rejections, what one pass over the text would have put there."""
    model, module = model_and_module(seed)
    watched = Watched(model)
    drafter = ModuleDrafter(watched, module)
    prompts = tokens(model.config, 1, 4, seed)
    generator = torch.Generator().manual_seed(seed)
    fast = speculative_generate(
        watched, drafter, prompts, 24, temperature=1.5, n_draft=3, generator=generator
    )
    assert 0 < fast.accepted < fast.drafted
    # each pass starts right behind the accepted tokens, and reads the last of them and the drafts
    place = 4
    assert watched.passes[0] == (0, 4)
    for (length, width), (following, _) in zip(
        watched.passes[1:], watched.passes[2:], strict=False
    ):
        assert length == place and following - length in range(1, width + 1)
        place = following
    ids = fast.token_ids
    fresh, cache = model.new_cache(), watched.cache
    hidden = model.hidden_states(ids[:, :-1], fresh)
    assert cache.length == fresh.length == ids.shape[1] - 1
    for ours, expected in zip(cache, fresh, strict=True):
        assert torch.allclose(ours.entries, expected.entries, atol=1e-9)
    n = drafter.cache.length
    mtp = module.new_cache()
    module(hidden[:, :n], model.embed_tokens(ids[:, 1 : n + 1]), mtp)
    assert torch.allclose(drafter.cache.entries, mtp.entries, atol=1e-9)


def tables(seed, vocab=3, longest=5):
    """Logits for each history: in the main model one token has about 0.85, more or less."""
    generator = torch.Generator().manual_seed(seed)
    rows = (vocab + 1) ** longest
    noise, other = (torch.randn(rows, vocab, generator=generator) for _ in range(2))
    best = torch.randint(vocab, (rows,), generator=generator)
    p = 2.5 * F.one_hot(best, vocab) + 0.5 * noise
    return {"good": p + 0.3 * other, "bad": other, "adversarial": -p, "main": p}


def counts_of(model, drafter, prompt, length, temperature, n_draft, n, rule, seed=0):
    generator = torch.Generator().manual_seed(seed)
    result = speculative_generate(
        model, drafter, prompt.expand(n, -1), length, temperature, n_draft, generator, rule=rule
    )
    return Counter(map(tuple, result.token_ids[:, prompt.shape[1] :].tolist())), result


def p_value(counts, exact, n):
    return chi_square(
        torch.tensor([counts[path] for path in exact], dtype=torch.float64),
        n * torch.tensor(list(exact.values()), dtype=torch.float64),
    )


@pytest.mark.parametrize("drafter", ["good", "bad", "adversarial"])
@pytest.mark.parametrize("temperature, n_draft", [(1.0, 1), (0.8, 3)])
def test_sampled_text_has_the_main_models_distribution(drafter, temperature, n_draft):
    table = tables(11)
    model, prompt, n = TableModel(table["main"]), torch.tensor([[1]]), 1000
    exact = model.distribution([1], 4, temperature)
    assert len(exact) == 81 and sum(exact.values()) == pytest.approx(1)
    right, result = counts_of(
        model, TableDrafter(table[drafter]), prompt, 4, temperature, n_draft, n, accept_or_resample
    )
    assert p_value(right, exact, n) > 1e-3
    assert result.passes < 4 * n
    if drafter != "adversarial":  # it hardly ever drafts what the main model is sure of
        wrong, _ = counts_of(
            model,
            TableDrafter(table[drafter]),
            prompt,
            4,
            temperature,
            n_draft,
            n,
            accept_above(0.8),
        )
        assert p_value(wrong, exact, n) < 1e-6


def test_a_better_drafter_is_accepted_more_often():
    table = tables(12)
    model, prompt = TableModel(table["main"]), torch.tensor([[0]])
    rates = []
    for name in ("main", "good", "bad", "adversarial"):
        drafter = TableDrafter(table[name])
        _, result = counts_of(model, drafter, prompt, 5, 1.0, 2, 300, accept_or_resample)
        rates.append(result.accepted / result.drafted)
    assert rates[0] == 1.0
    assert rates == sorted(rates, reverse=True)


def test_a_whole_model_with_caches_keeps_its_distribution():
    model, module = model_and_module(0, vocab_size=4, num_hidden_layers=2, first_k_dense_replace=2)
    wide(model, 1, std=0.5), wide(module, 2, std=0.5)
    prompt, n, exact = torch.tensor([[2, 1]]), 300, {(): 1.0}
    for _ in range(3):
        longer = {}
        for path, chance in exact.items():
            p = model(torch.tensor([[2, 1, *path]]))[0, -1].softmax(-1).tolist()
            longer |= {(*path, token): chance * share for token, share in enumerate(p)}
        exact = longer
    drafter = ModuleDrafter(model, module)
    counts, result = counts_of(model, drafter, prompt, 3, 1.0, 2, n, accept_or_resample)
    assert p_value(counts, exact, n) > 1e-3
    assert result.passes < 3 * n
    plain = plain_generate(model, prompt.expand(n, -1), 3, 1.0, torch.Generator().manual_seed(0))
    assert p_value(Counter(map(tuple, plain.token_ids[:, 2:].tolist())), exact, n) > 1e-3


def test_a_further_draft_follows_from_the_drafts_before():
    """The module's own state stands in for the main model's: the same as one pass over the longer sequence."""
    model, module = model_and_module(1)
    states = model.hidden_states(tokens(model.config, 1, 5))  # (1, 5, hidden)
    following = tokens(model.config, 1, 5, seed=1)
    drafter = ModuleDrafter(model, module)
    drafter.start()
    drafts, q = drafter.draft(following[0], states[0], 3, 1.0, torch.Generator().manual_seed(0))
    for k in range(3):
        last = module(states, model.embed_tokens(following))[:, -1:]
        assert torch.allclose(q[k], model.lm_head(last[0, 0]).softmax(-1))
        states = torch.cat((states, last), dim=1)
        following = torch.cat((following, drafts[None, k : k + 1]), dim=1)


@pytest.mark.parametrize("kind", [MainModel, ParallelHead, MultiTokenPredictionModule])
def test_matrices_start_as_wide_as_the_configuration_says(kind):
    torch.manual_seed(0)
    model = kind(replace(TINY, hidden_size=64, initializer_range=0.5))
    matrices = [p for p in model.parameters() if p.dim() > 1 and p.numel() > 200]
    assert len(matrices) > 5
    assert all(0.4 < matrix.std() < 0.6 for matrix in matrices)


def test_every_token_may_be_read_alone():
    model, _ = model_and_module(0)
    for token in range(model.config.vocab_size):
        assert model(torch.tensor([[token]])).isfinite().all()


def test_the_shortest_windows_that_have_something_to_predict():
    model, module = model_and_module(0)
    windows = tokens(model.config, 2, 3)
    for extra, length in ((None, 2), (module, 3)):
        main, second = training_losses(model, extra, windows[:, :length])
        assert main > 0 and (second > 0) == (extra is not None)


def test_a_stop_token_ends_a_row():
    model, module = model_and_module(2, vocab_size=6)
    prompts = tokens(model.config, 4, 2)
    free = plain_generate(model, prompts, 30).token_ids
    stop = free[0, 8].item()
    plain = plain_generate(model, prompts, 30, stop_token=stop).token_ids
    for n_draft in (1, 3):
        fast = speculative_generate(
            model, ModuleDrafter(model, module), prompts, 30, n_draft=n_draft, stop_token=stop
        )
        assert torch.equal(fast.token_ids, plain)
    for row, unstopped in zip(plain[:, 2:].tolist(), free[:, 2:].tolist(), strict=True):
        end = unstopped.index(stop) + 1 if stop in unstopped else len(unstopped)
        assert row[:end] == unstopped[:end]
        assert set(row[end:]) <= {stop}
    assert plain.shape[1] <= 32


def test_bad_requests_are_refused_by_name():
    model, module = model_and_module(0)
    drafter, prompt = ModuleDrafter(model, module), torch.zeros(1, 2, dtype=torch.long)
    assert torch.equal(speculative_generate(model, drafter, prompt, 0).token_ids, prompt)
    assert torch.equal(plain_generate(model, prompt, 0).token_ids, prompt)
    with pytest.raises(ValueError, match="n_draft"):
        speculative_generate(model, drafter, prompt, 3, n_draft=0)
    with pytest.raises(ValueError, match="max_new_tokens"):
        speculative_generate(model, drafter, prompt, -1)
    for wrong in (prompt[0], prompt[:0], prompt[:, :0]):
        with pytest.raises(ValueError, match="token_ids"):
            plain_generate(model, wrong, 3)
    with pytest.raises(ValueError, match="temperature"):
        speculative_generate(model, drafter, prompt, 3, temperature=-1.0)
    with pytest.raises(ValueError, match="config"):
        MultiTokenPredictionModule({"hidden_size": 4})
    with pytest.raises(ValueError, match="hidden, embedding"):
        module(torch.zeros(1, 3, module.hidden_size), torch.zeros(1, 2, module.hidden_size))
    with pytest.raises(ValueError, match="a: expected"):
        expected_tokens(1.2, 1)
    cache = LayerCaches(model.layers)
    with pytest.raises(ValueError, match="length"):
        cache.truncate(1)


def test_half_precision_scores_give_probabilities_that_add_up_to_one():
    logits = (3 * torch.randn(50, 1000, generator=torch.Generator().manual_seed(0))).bfloat16()
    for temperature in (0.3, 1.0):
        p = probabilities(logits, temperature)
        assert torch.allclose(p.double().sum(-1), torch.ones(50, dtype=torch.float64), atol=1e-5)
        expected = (logits.double() / temperature).softmax(-1)
        assert torch.allclose(p.double(), expected, rtol=1e-4)


def test_scores_that_are_no_numbers_are_refused_at_every_temperature():
    for bad in (float("nan"), float("inf")):
        for temperature in (0, 1.0):
            with pytest.raises(ValueError, match="logits"):
                probabilities(torch.tensor([[1.0, bad, 9.0]]), temperature)
    masked = torch.tensor([[1.0, -torch.inf, 9.0]])
    assert (
        probabilities(masked, 0).tolist() == [[0, 0, 1]] and probabilities(masked, 1.0)[0, 1] == 0
    )
    assert probabilities(torch.tensor([[1e9, 2e9]]), 1e-30).tolist() == [[0, 1]]


def test_what_has_no_target_no_token_or_no_chance_is_refused_by_name():
    model, module = model_and_module(0)
    drafter, ids = ModuleDrafter(model, module), torch.tensor([[1, 2, 3]])
    third = torch.ones(1, 3) / 3
    two, config = torch.ones(2), model.config
    refused = {
        "logits": lambda: shifted_loss(torch.zeros(1, 0, 5), ids),
        "token_ids": lambda: training_losses(model, module, ids[:, :2]),
        "token_ids: expected \\(batch, at": lambda: training_losses(model, None, ids[:, :1]),
        "token_ids: expected \\(batch, seq": lambda: plain_generate(
            model, ids + config.vocab_size, 2
        ),
        "token_ids: expected \\(batch, seq\\)": lambda: plain_generate(model, ids.double(), 2),
        "token_ids: expected \\(batch, prompt": lambda: plain_generate(model, [[1]], 2),
        "stop_token": lambda: plain_generate(model, ids, 2, stop_token=1.5),
        "stop_token: ": lambda: speculative_generate(model, drafter, ids, 2, stop_token=True),
        "drafts": lambda: accept_or_resample(third.expand(2, 3), third, torch.tensor([-1])),
        "drafts: ": lambda: accept_or_resample(third.expand(2, 3), third, torch.tensor([3])),
        "threshold": lambda: accept_above("high"),
        "threshold: ": lambda: accept_above(math.nan),
        "a: expected": lambda: expected_tokens(True, 1),
        "config": lambda: MainModel({}),
        "layer: expected": lambda: Block(config, -1),
        "config: ": lambda: ParallelHead({}),
        "counts, expected: expected equal sums": lambda: chi_square(two, 3 * two),
        "counts, expected: expected equal shapes": lambda: chi_square(two, torch.ones(3)),
        "counts, expected: ": lambda: chi_square(torch.tensor([-5, 25]), 10 * two),
        "expected: expected two kinds": lambda: chi_square(two, two),
        "accepted": lambda: walked_acceptance(torch.zeros(0, 3)),
        "n_prompts": lambda: measure_speculation(model, module, 1.0, n_prompts=5),
        "n_new": lambda: measure_speculation(model, module, 1.0, n_new=2),
        "steps": lambda: train_text("none", 0, 0),
        "steps: ": lambda: train_path("none", 0, 0),
        "batch": lambda: path_star_batch(torch.Generator(), 0),
    }
    for match, call in refused.items():
        with pytest.raises(ValueError, match=match):
            call()


# What the measurements rest on


def test_the_chi_square_test_is_the_textbooks():
    counts, expected = torch.tensor([10, 20, 30]), torch.tensor([20.0, 20.0, 20.0])
    assert chi_square(counts, expected) == pytest.approx(math.exp(-5))  # statistic 10, 2 degrees
    assert chi_square(torch.tensor([50, 1]), torch.tensor([51.0, 0.0])) == 0.0
    rare = torch.tensor([50.0, 49.0, 0.6, 0.4])  # the last two count as one
    assert chi_square(torch.tensor([50, 49, 1, 0]), rare) == pytest.approx(1.0)


def test_the_weight_of_the_second_loss_is_that_of_the_ledger():
    names = ("mtp.lambda_first", "mtp.lambda_last")
    assert tuple(fact(name).value for name in names) == mtp.LAMBDAS
    first, last = (fact(f"{name}_tokens").value for name in names)
    assert mtp.SWITCH == pytest.approx(first / (first + last))


def test_held_out_files_are_not_trained_on():
    train, held_out = library_split()
    assert 0.05 < len(held_out) / len(train) < 0.25
    whole, apart = bytes(train.tolist()), bytes(held_out.tolist())
    starts = range(0, len(apart) - 400, len(apart) // 20)
    # In Python 3.12 sunau.py has a passage of its documentation in common with wave.py.
    assert sum(apart[start : start + 400] in whole for start in starts) <= 1


def test_a_star_is_one_and_the_path_leads_to_its_goal():
    sources, targets, start, path = path_star_batch(torch.Generator().manual_seed(0), 200)
    again = path_star_batch(torch.Generator().manual_seed(0), 200)
    assert all(map(torch.equal, again, (sources, targets, start, path)))
    firsts = 0
    for s, t, centre, walk in zip(
        *(x.tolist() for x in (sources, targets, start, path)), strict=True
    ):
        edges = set(zip(s, t, strict=True))
        assert len(edges) == 6 and len({centre, *t}) == 7
        assert set(zip([centre, *walk[:-1]], walk, strict=True)) <= edges
        leaving = [target for source, target in zip(s, t, strict=True) if source == centre]
        assert len(leaving) == 2
        firsts += leaving[0] == walk[0]
    assert 70 < firsts < 130  # the order of the edges does not give the answer away


def test_the_confined_module_does_not_see_the_edges_and_the_blind_one_not_the_token():
    config = replace(text_config(16, 1), v_head_dim=4, qk_nope_head_dim=4)
    torch.manual_seed(0)
    model, module = PathModel(config), new_extra("module", config)
    star = path_star_batch(torch.Generator().manual_seed(0), 4)
    seen = {}

    def spy(_, arguments):
        seen["hidden"], seen["told"] = arguments

    module.register_forward_pre_hook(spy)
    widths = {"module": 8, "confined": 2, "blind": 8}
    for kind, width in widths.items():
        logits, second = path_losses(kind, model, module, star)
        assert logits.shape == (4, 3, 20) and second > 0
        assert seen["hidden"].shape[1] == seen["told"].shape[1] == width
        assert (seen["told"].abs().sum() == 0) == (kind == "blind")
    x = model.embed(*star)
    path_losses("confined", model, module, star)
    assert torch.equal(seen["told"], x[:, 7:])  # the first and the second node
    assert path_losses("none", model, None, star)[1] == 0


@pytest.mark.parametrize(("train", "rising"), [(train_text, 30), (train_path, 50)])
def test_the_learning_rate_rises_and_stays_and_gradients_are_clipped(steps_taken, train, rising):
    train("none", seed=0, steps=rising + 2, learning_rate=0.003)
    rates = [step["rate"] for step in steps_taken]
    assert rates == pytest.approx([0.003 * min(n / rising, 1) for n in range(1, rising + 3)])
    assert all(0 < step["gradient"] < 1 + 1e-3 for step in steps_taken)


def test_training_on_stars_can_be_repeated():
    first, again = (train_path("module", 1, 4, batch=8, measure_every=2) for _ in range(2))
    assert first["accuracy"] == again["accuracy"] and len(first["accuracy"]) == 2
    assert (first["kind"], first["seed"], first["every"]) == ("module", 1, 2)
    with pytest.raises(ValueError, match="kind"):
        train_path("sideways", 0, 1)


def test_with_weight_zero_the_main_head_learns_what_it_learns_alone(monkeypatch):
    monkeypatch.setattr(mtp, "text_config", lambda: text_config(24, 1))
    runs = {}
    for arm, weight in (("none", 0.3), ("module", 0.0), ("module", 0.3)):
        monkeypatch.setattr(mtp, "LAMBDAS", (weight, weight))
        record, _, extra = train_text(arm, seed=3, steps=4, measure_every=2)
        assert 0 < record["seconds"][0] < record["seconds"][1]
        runs[arm, weight] = record["main"]
        assert (extra is None) == (arm == "none")
    alone = pytest.approx(runs["none", 0.3], rel=1e-6)  # sums may be rounded in another order
    assert runs["module", 0.0] == alone
    assert runs["module", 0.3] != alone


def test_the_weight_of_the_second_loss_changes_where_it_did_in_deepseek_v3(monkeypatch):
    monkeypatch.setattr(mtp, "text_config", lambda: text_config(24, 1))
    records = {}
    for last in (0.1, 5.0):  # of 9 steps, the first 6 have the first weight
        monkeypatch.setattr(mtp, "LAMBDAS", (0.3, last))
        records[last] = train_text("module", 0, steps=9, of=9, measure_every=3)[0]["main"]
    same = [a == b for a, b in zip(records[0.1], records[5.0], strict=True)]
    assert same == [True, True, False]


def test_predicted_acceptance_is_added_up_by_hand():
    model, module = model_and_module(5)
    ids = tokens(model.config, 2, 6)
    total = []
    for row in ids:
        hidden = model.hidden_states(row[None])[0]
        for i in range(4):  # the module at i and the main model at i + 1 speak of token i + 2
            states = module(hidden[None, : i + 1], model.embed_tokens(row[None, 1 : i + 2]))
            q = (model.lm_head(states[0, -1]) / 0.7).softmax(-1)
            p = (model.lm_head(hidden[i + 1]) / 0.7).softmax(-1)
            total.append(torch.minimum(p, q).sum())
    expected = torch.stack(total).mean().item()
    assert predicted_acceptance(model, module, ids, 0.7) == pytest.approx(expected)


def test_the_measurement_of_speed_counts_right():
    config = text_config(24, 1)
    torch.manual_seed(0)
    model, module = MainModel(config), new_extra("module", config)
    for temperature in (0.0, 1.0):
        began = time.perf_counter()
        m = measure_speculation(model, module, temperature, n_prompts=2, n_new=9)
        assert sum(m["seconds"].values()) < time.perf_counter() - began
        assert m["n_draft"] == 1  # as DeepSeek does
        assert m["speedup"] == m["seconds"]["plain"] / m["seconds"]["speculative"]
        assert m["passes"]["plain"] == 2 * 8
        assert m["tokens_per_pass"] == 16 / m["passes"]["speculative"]
        assert 0 <= m["accepted"] <= 1 and 0 < m["predicted"] <= 1
        assert m["same_text"] or temperature > 0
        for way, parts in m["parts"].items():
            assert 0 < sum(parts.values()) < m["seconds"][way]
        assert set(m["parts"]["speculative"]) == {"main model", "output head", "draft"}


def test_walking_over_a_text_drafts_where_drafting_fails():
    same = torch.full((3, 50), 0.7)
    assert walked_acceptance(same) == pytest.approx(0.7)
    # first half always accepted, second half never: 10 drafts in 20 places, then 20 in 20
    halves = torch.cat((torch.ones(1, 20), torch.zeros(1, 20)), dim=1)
    assert walked_acceptance(halves) == pytest.approx(10 / 30)
    generator = torch.Generator().manual_seed(0)
    a = torch.rand(1, 40, generator=generator)
    drafted = accepted = 0
    for _ in range(1500):  # the walk itself
        place = 0
        while place < 40:
            drafted += 1
            hit = torch.rand((), generator=generator) < a[0, place]
            accepted += int(hit)
            place += 1 + int(hit)
    assert accepted / drafted == pytest.approx(walked_acceptance(a), abs=0.015)


def test_every_recorded_run_says_where_it_comes_from():
    path = Path(mtp.__file__).parent / "recorded" / "mtp.json"
    for run in json.loads(path.read_text(encoding="utf-8")):
        assert {"machine", "torch", "commit", "seconds", "seed"} <= run.keys()
        what, arm, seed, steps = run["job"]
        assert seed == run["seed"] and arm in (run.get("arm"), run.get("kind"))
        if what == "path":
            assert len(run["accuracy"]) * run["every"] == steps
        else:
            assert run["steps"][-1] == steps and len(run["main"]) == len(run["seconds"])
            assert ("speculation" in run) == (arm == "module")
