"""The layer of `moe` against transformers, its dispatches against each other, and the laws of routing."""

import ast
import copy
import itertools
import json
import math
import os
import pickle
import random
import sys
from dataclasses import replace
from pathlib import Path

import cloudpickle
import pytest
import torch
import torch.nn.functional as F

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.facts import compare
from deepseek_explained.moe import (
    BALANCE_ARMS,
    BUDGET_ARMS,
    DISPATCHES,
    HIDDEN,
    SIZE_ARMS,
    FeedForward,
    MarkovLanguage,
    MixtureOfExperts,
    RoutedExperts,
    Router,
    ToyModel,
    device_violation,
    expert_load,
    limit_to_groups,
    max_violation,
    mutual_information,
    sequence_balance_loss,
    summarise,
    toy_config,
    toy_layer,
    train_toy,
)

ROOT = Path(__file__).resolve().parent.parent
TINY = DeepSeekConfig.from_dict(published_config("tiny"))
NOISE = 1e-5  # where the true gradient is zero: one expert at work, its gate always one
NAMES = {"router.weight": "gate.weight", "router.bias": "gate.e_score_correction_bias"}


def random_config(seed, **fixed):
    draw = random.Random(seed)
    n_group, size = draw.choice((1, 2, 3, 4)), draw.choice((2, 3, 4, 6))
    topk_group = draw.randint(1, n_group)
    settings = {
        "hidden_size": 4 * draw.randint(1, 8),
        "moe_intermediate_size": 4 * draw.randint(1, 6),
        "n_routed_experts": n_group * size,
        "n_group": n_group,
        "topk_group": topk_group,
        "num_experts_per_tok": draw.randint(1, min(topk_group * size, 7)),
        "n_shared_experts": draw.randint(1, 3),
        "norm_topk_prob": draw.random() < 0.7,
        "routed_scaling_factor": draw.choice((1.0, 2.5, 0.7)),
    }
    return replace(TINY, **(settings | fixed))


def randomise(layer, seed, std=0.2):
    """Wide random weights and biases: with small ones mistakes hide."""
    torch.manual_seed(seed)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=std)
    layer.router.bias.uniform_(-0.3, 0.3)
    return layer


def twins(config, seed):
    ours = randomise(MixtureOfExperts(config), seed)
    settings = {name: value for name, value in config.to_dict().items() if name != "model_type"}
    theirs = DeepseekV3MoE(transformers.DeepseekV3Config(**settings))
    state = {NAMES.get(name, name): tensor for name, tensor in ours.state_dict().items()}
    theirs.load_state_dict(state)
    return ours, theirs


def near_ties(router, scores, margin=1e-5):
    """Tokens whose choice hangs on less than the margin, found with plain sorting."""
    tied = []
    for biased in (scores + router.bias).tolist():
        size = len(biased) // router.n_group
        groups = [biased[size * g : size * (g + 1)] for g in range(router.n_group)]
        sums = [sum(sorted(group)[-2:]) for group in groups]
        order = sorted(sums, reverse=True)
        tie = (
            router.topk_group < router.n_group
            and order[router.topk_group - 1] - order[router.topk_group] < margin
        )
        best = sorted(range(router.n_group), key=lambda g: -sums[g])[: router.topk_group]
        open_scores = sorted((s for g in best for s in groups[g]), reverse=True)
        if router.n_active < len(open_scores):
            tie |= open_scores[router.n_active - 1] - open_scores[router.n_active] < margin
        tied.append(tie)
    return torch.tensor(tied)


# Against transformers


@pytest.mark.parametrize("seed", range(60))
def test_values_and_gradients_are_those_of_transformers(seed):
    config = random_config(seed)
    ours, theirs = twins(config, seed)
    x = torch.randn(2, 17, config.hidden_size)
    with torch.no_grad():
        ours(x)
    tied = near_ties(ours.router, ours.last_scores.flatten(0, 1))
    assert tied.sum() <= 3
    x = x.flatten(0, 1)[~tied][None]  # what is tied may go either way
    mine, yours = x.clone().requires_grad_(), x.clone().requires_grad_()
    ours_out, theirs_out = ours(mine), theirs(yours)
    error = (ours_out - theirs_out).norm(dim=-1) / theirs_out.norm(dim=-1)
    assert error.max() < 1e-5
    target = torch.randn_like(x)
    (ours_out * target).sum().backward()
    (theirs_out * target).sum().backward()
    torch.testing.assert_close(mine.grad, yours.grad, rtol=1e-4, atol=1e-5)
    gradients = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        other = gradients[NAMES.get(name, name)].grad
        assert (parameter.grad - other).norm() <= 1e-4 * other.norm() + NOISE, name


def test_the_true_shapes_build_and_count():
    config = DeepSeekConfig.from_dict(published_config("deepseek-v3"))
    with torch.device("meta"):
        layer = MixtureOfExperts(config)
    assert sum(p.numel() for p in layer.parameters()) == 257 * 3 * 7168 * 2048 + 256 * 7168
    assert layer.experts.gate_up_proj.shape == (256, 2 * 2048, 7168)


# Dispatch


@pytest.mark.parametrize("seed", range(25))
def test_the_dispatches_agree_in_values_and_gradients(seed):
    config = random_config(seed)
    layer = randomise(MixtureOfExperts(config), seed)
    x = torch.randn(3, 9, config.hidden_size)
    target = torch.randn_like(x)
    results = {}
    for name in DISPATCHES:
        layer.experts.dispatch = name
        layer.zero_grad()
        leaf = x.clone().requires_grad_()
        out = layer(leaf)
        (out * target).sum().backward()
        results[name] = [out.detach(), leaf.grad] + [p.grad.clone() for p in layer.parameters()]
    for name, tensors in results.items():
        for ours, reference in zip(tensors, results["dense"], strict=True):
            assert (ours - reference).norm() <= 1e-5 * reference.norm() + NOISE, name


def by_hand(layer, x):
    """The layer, token by token and expert by expert, straight from equation 12."""
    out = torch.zeros_like(x)
    gates, chosen, _ = layer.router(x)
    for token in range(len(x)):
        for gate, expert in zip(gates[token], chosen[token].tolist(), strict=True):
            both = layer.experts.gate_up_proj[expert] @ x[token]
            half = len(both) // 2
            hidden = both[:half] * torch.sigmoid(both[:half]) * both[half:]
            out[token] += gate * (layer.experts.down_proj[expert] @ hidden)
        shared = layer.shared_experts
        a, b = shared.gate_proj.weight @ x[token], shared.up_proj.weight @ x[token]
        out[token] += shared.down_proj.weight @ (a * torch.sigmoid(a) * b)
    return out


@pytest.mark.parametrize("dispatch", ["auto", *DISPATCHES])
def test_every_dispatch_is_equation_12(dispatch):
    config = random_config(5, n_shared_experts=2)
    layer = randomise(MixtureOfExperts(config, dispatch), 5)
    x = torch.randn(1, 13, config.hidden_size)
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], by_hand(layer, x[0]), rtol=1e-4, atol=1e-5)


def test_double_precision_agrees_to_its_own_precision():
    layer = randomise(MixtureOfExperts(random_config(7)), 7).double()
    x = torch.randn(2, 11, layer.hidden_size, dtype=torch.float64)
    assert layer.experts.way(x[0]) == "loop"
    with torch.no_grad():
        torch.testing.assert_close(layer(x)[0], by_hand(layer, x[0]), rtol=1e-12, atol=1e-12)


def test_auto_takes_what_the_tensors_allow():
    aligned = RoutedExperts(replace(TINY, hidden_size=8, moe_intermediate_size=4))
    odd = RoutedExperts(replace(TINY, hidden_size=7, moe_intermediate_size=5))
    many, one = torch.randn(10, 8), torch.randn(1, 8)
    assert aligned.way(many) == "grouped"
    assert aligned.way(one) == "grouped"  # a gradient is wanted
    with torch.no_grad():
        assert aligned.way(one) == "chosen"
    assert odd.way(torch.randn(10, 7)) == "loop"
    assert aligned.way(many.bfloat16()) == "loop"  # a row of 4 numbers is 8 bytes
    layer = randomise(MixtureOfExperts(replace(TINY, hidden_size=7, moe_intermediate_size=5)), 1)
    assert layer(torch.randn(1, 4, 7)).shape == (1, 4, 7)


def test_gradients_pass_through_a_plain_sum():
    """The grouped product's own backward refuses gradients that are expanded views."""
    layer = MixtureOfExperts(TINY)
    layer(torch.randn(1, 10, 8)).sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_bfloat16_keeps_scores_precise():
    config = replace(TINY, moe_intermediate_size=8, hidden_size=16)
    layer = randomise(MixtureOfExperts(config), 2)
    x = torch.randn(1, 6, 16)
    half = copy.deepcopy(layer).bfloat16()
    assert half.router.bfloat16() is half.router  # as of any module
    assert half.router.bias.dtype == torch.float32
    out = half(x.bfloat16())
    assert out.dtype == torch.bfloat16
    assert half.last_scores.dtype == torch.float32


# The laws of routing


@pytest.mark.parametrize("seed", range(30))
def test_each_token_meets_k_distinct_experts_in_few_groups(seed):
    config = random_config(seed)
    router = randomise(MixtureOfExperts(config), seed).router
    gates, chosen, scores = router(torch.randn(40, config.hidden_size))
    size = config.n_routed_experts // config.n_group
    for row in chosen.tolist():
        assert len(set(row)) == config.num_experts_per_tok == len(row)
        assert len({expert // size for expert in row}) <= config.topk_group
    total = gates.sum(dim=-1)
    if config.norm_topk_prob:
        torch.testing.assert_close(total, torch.full_like(total, config.routed_scaling_factor))
    else:
        expected = config.routed_scaling_factor * scores.gather(1, chosen)
        torch.testing.assert_close(gates, expected)


@pytest.mark.parametrize("seed", range(30))
def test_the_choice_is_that_of_plain_sorting(seed):
    config = random_config(seed)
    router = randomise(MixtureOfExperts(config), seed).router
    _, chosen, scores = router(torch.randn(40, config.hidden_size))
    tied = near_ties(router, scores)
    size = config.n_routed_experts // config.n_group
    for row, biased, tie in zip(chosen, (scores + router.bias).tolist(), tied, strict=True):
        groups = range(config.n_group)
        sums = [sum(sorted(biased[size * g : size * (g + 1)])[-2:]) for g in groups]
        best = sorted(groups, key=lambda g: -sums[g])[: config.topk_group]
        allowed = [e for e in range(len(biased)) if e // size in best]
        expected = sorted(allowed, key=lambda e: -biased[e])[: config.num_experts_per_tok]
        assert tie or set(row.tolist()) == set(expected)


@pytest.mark.parametrize("seed", range(15))
def test_the_bias_changes_the_choice_and_never_a_score(seed):
    config = random_config(seed, n_routed_experts=12, n_group=1, topk_group=1)
    config = replace(config, num_experts_per_tok=2, norm_topk_prob=True)
    router = randomise(MixtureOfExperts(config), seed).router
    x = torch.randn(60, config.hidden_size)
    gates, chosen, scores = router(x)
    router.bias += 5.0  # the same for all: nothing changes
    assert torch.equal(router(x)[1].sort().values, chosen.sort().values)
    favourite = chosen[0, 0].item()
    router.bias[favourite] -= 50.0
    _, other, same = router(x)
    assert torch.equal(same, scores)
    assert favourite in chosen and favourite not in other
    router.bias[favourite] += 100.0
    gates, every, _ = router(x)
    assert (every == favourite).any(dim=1).all()
    raw = scores.gather(1, every)
    expected = config.routed_scaling_factor * raw / raw.sum(dim=1, keepdim=True)
    torch.testing.assert_close(gates, expected)


@pytest.mark.parametrize("seed", range(20))
def test_renumbering_experts_within_groups_and_whole_groups_changes_nothing(seed):
    config = random_config(seed)
    layer = randomise(MixtureOfExperts(config), seed)
    x = torch.randn(2, 15, config.hidden_size)
    with torch.no_grad():
        before = layer(x)
        load = layer.last_load
        tied = near_ties(layer.router, layer.last_scores.flatten(0, 1)).view(2, 15)
        size = config.n_routed_experts // config.n_group
        within = torch.stack([torch.randperm(size) for _ in range(config.n_group)])
        order = (size * torch.randperm(config.n_group)[:, None] + within).flatten()
        for tensor in (layer.router.weight, layer.router.bias, *layer.experts.parameters()):
            tensor.copy_(tensor[order])
        after = layer(x)
    torch.testing.assert_close(after[~tied], before[~tied], rtol=1e-5, atol=1e-6)
    if not tied.any():
        assert torch.equal(layer.last_load, load[order])


def test_a_group_is_scored_by_its_two_best():
    scores = torch.tensor([[0.9, 0.0, 0.0, 0.5, 0.5, 0.1]])
    closed = torch.isinf(limit_to_groups(scores, n_group=2, topk_group=1))
    assert closed.tolist() == [[True] * 3 + [False] * 3]
    assert limit_to_groups(scores, n_group=3, topk_group=1).isinf().sum() == 4
    assert limit_to_groups(scores, n_group=2, topk_group=2) is scores


# Load, bias, balance


def test_load_counts_the_tokens_of_each_expert():
    layer = MixtureOfExperts(TINY)
    x = torch.randn(3, 20, 8)
    layer(x)
    assert layer.last_load.sum() == 60 * TINY.num_experts_per_tok
    chosen = layer.router(x.flatten(0, 1))[1]
    counted = [(chosen == expert).sum().item() for expert in range(8)]
    assert layer.last_load.tolist() == counted
    assert expert_load(torch.tensor([[0, 2], [2, 1]]), 4).tolist() == [1, 1, 2, 0]
    assert max_violation(torch.tensor([1.0, 1.0, 2.0, 0.0])) == 1.0


def test_the_bias_moves_by_gamma_against_the_load():
    layer = MixtureOfExperts(TINY)
    load = torch.tensor([4.0, 0, 1, 3, 2, 2, 2, 2])
    layer.update_bias(0.01, load)
    expected = torch.tensor([-0.01, 0.01, 0.01, -0.01, 0, 0, 0, 0])
    torch.testing.assert_close(layer.router.bias, expected)
    layer.update_bias(0.0, load)
    torch.testing.assert_close(layer.router.bias, expected)
    layer(torch.randn(1, 10, 8))
    layer.update_bias(0.5)
    moved = layer.router.bias - expected
    assert torch.equal(moved.sign(), (layer.last_load.mean() - layer.last_load).sign())
    assert not layer.router.bias.requires_grad


def test_repeated_updates_balance_a_lopsided_router():
    torch.manual_seed(0)
    config = replace(TINY, n_group=1, topk_group=1)
    layer = MixtureOfExperts(config)
    with torch.no_grad():
        layer.router.weight[:2] += 0.3
    x = torch.randn(1, 400, 8) + 0.5
    layer(x)
    before = max_violation(layer.last_load)
    for step in range(300):
        layer(x)
        layer.update_bias(0.01 if step < 200 else 0.001)
    assert before > 1 and max_violation(layer.last_load) < 0.1 * before


def test_the_balance_loss_is_the_sum_of_the_report():
    scores = torch.rand(3, 7, 6)
    loss = 0.0
    for sequence in scores:
        for expert in range(6):
            works = [expert in row.topk(2).indices for row in sequence]
            f = 6 / (2 * 7) * sum(works)
            loss += f * (sequence[:, expert] / sequence.sum(dim=1)).mean() / 3
    torch.testing.assert_close(sequence_balance_loss(scores, 2), loss)


def test_the_balance_loss_pushes_down_who_has_too_much():
    even = torch.full((1, 8, 4), 0.5)
    even[0] += 0.1 * torch.eye(4).repeat(2, 1)
    assert sequence_balance_loss(even, 1).item() == pytest.approx(1.0)
    lopsided = torch.full((1, 8, 4), 0.2)
    lopsided[..., 0] = 0.9
    lopsided.requires_grad_()
    loss = sequence_balance_loss(lopsided, 1)
    loss.backward()
    assert loss > 2
    assert (lopsided.grad[..., 0] > 0).all() and (lopsided.grad[..., 1:] < 0).all()


def test_the_layers_balance_loss_reaches_the_router():
    layer = MixtureOfExperts(TINY)
    layer(torch.randn(2, 10, 8))
    layer.balance_loss().backward()
    assert layer.router.weight.grad.abs().sum() > 0
    assert layer.experts.down_proj.grad is None


def test_copies_and_pickles_leave_the_last_batch_behind():
    layer = MixtureOfExperts(TINY)
    x = torch.randn(1, 5, 8)
    out = layer(x)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin.last_scores is None and layer.last_scores is not None
        torch.testing.assert_close(twin(x), out)


def test_top_one_with_normalised_gates_cannot_learn_to_route():
    for n_active, learns in ((1, False), (2, True)):
        layer = randomise(MixtureOfExperts(toy_config(n_active=n_active)), 0)
        layer(torch.randn(1, 20, HIDDEN)).square().mean().backward()
        assert (layer.router.weight.grad.norm() > 1e-3) == learns


# Bad input


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MixtureOfExperts({"hidden_size": 8}), "config: expected a DeepSeekConfig"),
        (lambda: MixtureOfExperts(TINY, "fast"), "dispatch: expected one of auto, loop"),
        (lambda: MixtureOfExperts(TINY)(torch.randn(10, 8)), "x: expected (batch, seq, 8)"),
        (lambda: MixtureOfExperts(TINY)(torch.randn(1, 10, 9)), "got (1, 10, 9)"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1), "load: expected a forward pass"),
        (lambda: MixtureOfExperts(TINY).update_bias(-1, torch.ones(8)), "gamma: expected"),
        (lambda: MixtureOfExperts(TINY).update_bias(math.nan, torch.ones(8)), "gamma"),
        (lambda: MixtureOfExperts(TINY).balance_loss(), "last_scores: expected a forward"),
        (lambda: FeedForward(0, 4), "hidden_size: expected a whole number"),
        (lambda: FeedForward(4, 2.5), "intermediate_size: expected a whole number"),
        (lambda: toy_layer("sparse", toy_config()), "kind: expected one of moe, dense, wide"),
        (lambda: Router({}), "config: expected a DeepSeekConfig, got {}"),
        (lambda: RoutedExperts(None), "config: expected a DeepSeekConfig, got None"),
        (lambda: MixtureOfExperts(TINY)([[1.0]]), "x: expected (batch, seq, 8), floats"),
        (lambda: MixtureOfExperts(TINY)(torch.ones(1, 2, 8).long()), "got (1, 2, 8), torch.int64"),
        (lambda: MixtureOfExperts(TINY)(torch.ones(1, 0, 8)), "not empty; got (1, 0, 8)"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1, torch.ones(7)), "load: expected (8,)"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1, 3), "load: expected (8,), floats"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1, torch.ones(8) * math.nan), "[nan, nan"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1, -torch.ones(8)), "got [-1.0, -1.0"),
        (lambda: MixtureOfExperts(TINY).update_bias(0.1, torch.zeros(8)), "not all of them 0"),
        (lambda: limit_to_groups(torch.ones(3), 1, 1), "scores: expected (tokens, experts)"),
        (lambda: limit_to_groups(torch.ones(3, 6), 4, 1), "n_group: expected a divisor of the 6"),
        (lambda: limit_to_groups(torch.ones(3, 6), 0, 1), "n_group: expected a whole number"),
        (lambda: limit_to_groups(torch.ones(3, 6), 3, 0), "topk_group: expected a whole number"),
        (lambda: limit_to_groups(torch.ones(3, 6), 3, 4), "topk_group: expected at most n_group"),
        (lambda: limit_to_groups(torch.ones(3, 6), 6, 1), "n_group: expected at least two experts"),
        (lambda: max_violation(torch.zeros(4)), "load: expected counts, not all of them 0"),
        (lambda: max_violation(torch.ones(2, 4)), "load: expected (experts,)"),
        (lambda: max_violation(torch.tensor([1.0, math.inf])), "load: expected counts"),
        (lambda: device_violation(torch.ones(6)), "load: expected 4 experts a device, got 6"),
        (lambda: device_violation(torch.ones(6), 0), "size: expected a whole number"),
        (lambda: sequence_balance_loss(torch.ones(3, 4), 2), "scores: expected (batch, seq, exp"),
        (lambda: sequence_balance_loss(torch.ones(1, 3, 4), 5), "n_active: expected at most 4"),
        (lambda: sequence_balance_loss(torch.ones(1, 3, 4), 0), "n_active: expected a whole"),
        (lambda: MarkovLanguage(n_symbols=3), "n_successors: expected at most 3 symbols, got 4"),
        (lambda: MarkovLanguage(n_domains=0), "n_domains: expected a whole number"),
        (lambda: MarkovLanguage(n_symbols=2.5), "n_symbols: expected a whole number"),
        (lambda: MarkovLanguage(n_successors=0), "n_successors: expected a whole number"),
        (lambda: MarkovLanguage().sample(0, 3, None), "batch: expected a whole number"),
        (lambda: MarkovLanguage().sample(3, 0, None), "length: expected a whole number"),
        (lambda: toy_config(n_active=0), "n_active: expected a whole number"),
        (lambda: toy_layer("dense", {}), "config: expected a DeepSeekConfig"),
        (lambda: train_toy(steps=0), "steps: expected a whole number"),
        (lambda: train_toy(seed=-1), "seed: expected a whole number from 0"),
        (lambda: train_toy(alpha=-0.1), "alpha: expected a finite number above zero"),
        (lambda: train_toy(gamma=math.nan), "gamma: expected a finite number above zero"),
        (lambda: train_toy(sameness="much"), "sameness: expected a finite number above zero"),
        (lambda: train_toy(learning_rate=0), "learning_rate: expected a finite number"),
        (lambda: train_toy(whole_batch=1), "whole_batch: expected true or false"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError) as refusal:
        make()
    assert message in str(refusal.value)


def test_without_shared_experts():
    layer = MixtureOfExperts(replace(TINY, n_shared_experts=0))
    assert layer.shared_experts is None
    assert layer(torch.randn(2, 3, 8)).shape == (2, 3, 8)


# The toy


def test_the_language_is_what_it_says():
    language = MarkovLanguage(n_domains=3, n_symbols=8, n_successors=2)
    torch.testing.assert_close(language.table.sum(dim=-1), torch.ones(3, 8))
    assert ((language.table > 0).sum(dim=-1) == 2).all()
    torch.testing.assert_close(
        language.visits, (language.visits[:, None] @ language.table)[:, 0], rtol=0, atol=1e-5
    )
    domains, symbols = language.sample(4000, 6, torch.Generator().manual_seed(0))
    assert symbols.shape == (4000, 7)
    counts = torch.zeros(3, 8, 8)
    for i in range(6):
        pairs = (domains, symbols[:, i], symbols[:, i + 1])
        counts.index_put_(pairs, torch.ones(4000), accumulate=True)
    seen = counts.sum(dim=-1) > 300
    frequencies = counts / counts.sum(dim=-1, keepdim=True).clamp(min=1)
    assert (frequencies - language.table)[seen].abs().max() < 0.1
    assert domains.bincount().argsort(descending=True).tolist() == [0, 1, 2]


def test_the_floor_is_what_the_best_predictor_gets():
    language = MarkovLanguage()
    domains, symbols = language.sample(3000, 20, torch.Generator().manual_seed(3))
    true = language.table[domains[:, None], symbols[:, :-1]]
    loss = -true.gather(-1, symbols[:, 1:, None]).log().mean().item()
    assert loss == pytest.approx(language.entropy_floor(), abs=0.02)


def test_dense_and_experts_cost_the_same_and_wide_stores_the_same():
    config = toy_config()
    stored = {
        kind: sum(p.numel() for p in toy_layer(kind, config).parameters())
        for kind in ("dense", "moe", "wide")
    }
    met = 3 * HIDDEN * 32 * (2 + 1) + 16 * HIDDEN
    assert 0 <= stored["dense"] - met <= 3 * HIDDEN
    assert 0 <= stored["wide"] - stored["moe"] <= 3 * HIDDEN


def test_all_sizes_have_equal_experts():
    stored, met = set(), set()
    for arm in SIZE_ARMS.values():
        stored.add(arm["n_experts"] * arm["width"])
        met.add(arm["n_active"] * arm["width"])
    assert stored == {512} and met == {128}


def test_training_learns_and_reports():
    language = MarkovLanguage()
    model = ToyModel(language, HIDDEN, [toy_layer("dense", toy_config())])
    domains, symbols = language.sample(200, 16, torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(domains, symbols[:, :-1])
    untrained = F.cross_entropy(logits.flatten(0, 1), symbols[:, 1:].flatten()).item()
    runs = {name: train_toy(steps=30, **arm) for name, arm in (BUDGET_ARMS | BALANCE_ARMS).items()}
    for name, run in runs.items():
        assert 0 < run["excess"] < untrained - language.entropy_floor() - 0.5, name
        assert run["seconds"] > 0
    summary = summarise(runs["bias"])
    assert len(summary["test_violation"]) == len(summary["dead"]) == 2
    assert [sum(load) for load in summary["busy"]] == [512 * 32 * 2] * 2
    assert all(i > s for i, s in zip(summary["information"], summary["shuffled"], strict=True))
    assert set(summarise(runs["wide"])) == {"excess", "seconds"}
    assert runs["none"]["bias"][-1] == [[0.0] * 16] * 2
    assert max(runs["bias"]["bias"][-1][0]) > 0.05


def test_the_learning_rate_rises_for_20_steps_and_falls_to_nothing(steps_taken):
    train_toy(steps=60, learning_rate=0.01)
    rates = [step["rate"] for step in steps_taken]
    assert len(rates) == 60
    assert rates[0] == pytest.approx(0.01 / 20) and max(rates) <= 0.01
    assert rates[:15] == sorted(rates[:15]) and rates[20:] == sorted(rates[20:], reverse=True)
    assert rates[30] == pytest.approx(0.005) and rates[-1] < 1e-4  # half-way, half of it
    assert all(math.isfinite(step["gradient"]) and step["decays"] == {0.0} for step in steps_taken)


def test_experts_of_all_sizes_hold_the_same_number_of_parameters():
    sizes = set()
    for arm in SIZE_ARMS.values():
        names = ("n_experts", "n_active", "width", "n_shared", "normalise")
        layer = toy_layer("moe", toy_config(**{name: arm[name] for name in names}))
        parts = layer.named_parameters()
        sizes.add(sum(p.numel() for name, p in parts if not name.startswith("router")))
    assert len(sizes) == 1


def test_training_is_repeatable():
    first, second, other = (train_toy(steps=10, seed=seed)["excess"] for seed in (0, 0, 1))
    assert first == second != other


def test_mutual_information_of_known_tables():
    assert mutual_information(torch.eye(4)) == pytest.approx(math.log(4))
    assert mutual_information(torch.outer(torch.arange(1.0, 4), torch.arange(1.0, 6))) == (
        pytest.approx(0.0, abs=1e-7)
    )
    table = torch.tensor([[3.0, 1.0], [1.0, 3.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert mutual_information(table) == pytest.approx(expected)


def test_the_router_is_the_released_code_in_other_words():
    """Sigmoid, bias for choosing only, two best per group, normalise, scale: in NumPy-like loops."""
    config = random_config(11, norm_topk_prob=True)
    router = randomise(MixtureOfExperts(config), 11).router
    assert isinstance(router, Router)
    x = torch.randn(5, config.hidden_size)
    gates, chosen, scores = router(x)
    for token in range(5):
        for expert in range(config.n_routed_experts):
            logit = sum(
                a * b
                for a, b in zip(x[token].tolist(), router.weight[expert].tolist(), strict=True)
            )
            assert scores[token, expert].item() == pytest.approx(
                1 / (1 + math.exp(-logit)), rel=1e-4
            )
        raw = scores[token, chosen[token]]
        expected = config.routed_scaling_factor * raw / raw.sum()
        torch.testing.assert_close(gates[token], expected)


# What the notebook computes in functions of its own


def of_the_notebook(name, **given):
    """A function that a cell of the notebook defines, without the rest of its cell."""
    cells = json.loads((ROOT / "notebooks" / "moe.ipynb").read_text(encoding="utf-8"))["cells"]
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code" and f"def {name}(" in text:
            tree = ast.parse(text)
            found = [node for node in tree.body if getattr(node, "name", "") == name]
            space = {"math": math, **given}
            exec(compile(ast.Module(found, []), name, "exec"), space)
            return space[name]
    raise AssertionError(f"no cell defines {name}")


def test_the_exchange_is_in_seconds_and_gives_the_published_time():
    exchange = of_the_notebook("exchange", bytes_out=1, bytes_back=2)
    comparison = compare("isca.a2a_time", exchange(7_000, 50e9))
    assert comparison.verdict == "exact"
    assert exchange(7_000, 50e9, tokens=1, copies=1) == pytest.approx(3 * 7_000 / 50e9)


def test_sets_of_experts_within_few_groups_are_counted_right():
    sets_within = of_the_notebook("sets_within")
    for limit in (1, 2, 3, 4):
        sets = itertools.combinations(range(12), 4)
        few = sum(len({expert // 3 for expert in chosen}) <= limit for chosen in sets)
        assert sets_within(limit, n_groups=4, size=3, n_active=4) == few
    assert sets_within(8) == math.comb(256, 8)


def test_chance_alone_leaves_some_violation():
    def mean(values):
        return sum(values) / len(values)

    by_chance = of_the_notebook(
        "by_chance", torch=torch, mean=mean, max_violation=max_violation, expert_load=expert_load
    )
    assert 0.1 < by_chance(1024, 20) < 0.25
    assert by_chance(16_384, 5) < 0.08


def test_a_bias_keeps_its_precision_when_the_layer_loses_its_own():
    layer = MixtureOfExperts(DeepSeekConfig.from_dict(published_config("tiny"))).bfloat16()
    load = torch.tensor([8.0, 0, 0, 0, 0, 0, 0, 0])
    for _ in range(1000):
        layer.update_bias(0.001, load)
    assert layer.router.bias.dtype == torch.float32
    assert layer.router.bias[0].item() == pytest.approx(-1.0, rel=1e-3)
    assert layer.double().router.bias.dtype == torch.float64


def test_balance_over_a_batch_forgives_what_balance_over_sequences_does_not():
    """Each sequence loves one expert, all sequences together love all: balanced as a batch, not by sequence."""
    config = DeepSeekConfig.from_dict(published_config("tiny"))
    layer = MixtureOfExperts(config)
    layer.last_scores = torch.full((8, 5, 8), 0.01)
    for sequence in range(8):
        layer.last_scores[sequence, :, [sequence, (sequence + 1) % 8]] = 0.99
    assert layer.balance_loss(whole_batch=True).item() == pytest.approx(1.0, abs=1e-5)
    assert layer.balance_loss().item() > 3


# What is measured, and how


def test_a_run_is_summed_up_as_it_says():
    """By hand: two layers of 20 experts, eight measurements, four sequences of two domains."""
    violation = [[float(step), 10.0 + step] for step in range(8)]
    load = [[10] * 19 + [0], [10] * 18 + [9, 1]]
    result = {
        "excess": 0.5,
        "seconds": 2.0,
        "max_violation": violation,
        "device_violation": [[value / 2 for value in row] for row in violation],
        "domains": [0, 1, 0, 1],
        "sequence_load": [[row] * 4 for row in load],
    }
    summary = summarise(result)
    assert summary["late_violation"] == [6.5, 16.5]  # the last two of eight
    assert summary["late_device_violation"] == [3.25, 8.25]
    assert summary["busy"] == [[4 * count for count in row] for row in load]
    assert summary["test_violation"] == pytest.approx([10 / 9.5 - 1] * 2)
    assert summary["dead"] == [1, 0]  # a tenth of the mean would be 0.95: 1 is alive
    assert summary["information"] == pytest.approx([0.0, 0.0], abs=1e-7)
    assert summary["excess"] == 0.5 and summary["seconds"] == 2.0
    result["sequence_load"][1][0] = [1] * 19 + [0.8]
    load = torch.tensor(result["sequence_load"][1]).sum(dim=0)
    assert summarise(result)["dead"][1] == int((load < 0.1 * load.mean()).sum())


@pytest.mark.parametrize("least, dead", [(0, 1), (3, 1), (4, 0), (8, 0)])
def test_an_expert_is_dead_below_a_tenth_of_its_fair_share(least, dead):
    load = [36] * 19 + [least]  # a tenth of the mean is between 3.4 and 3.5
    result = {
        "excess": 0.0,
        "seconds": 0.0,
        "max_violation": [[0.0]],
        "device_violation": [[0.0]],
        "domains": [0],
        "sequence_load": [[load]],
    }
    assert summarise(result)["dead"] == [dead]


def test_information_needs_the_domains_where_they_are():
    """Each domain has an expert of its own; dealt out at random, the domains say less."""
    domains = [i % 4 for i in range(200)]
    result = {
        "excess": 0.0,
        "seconds": 0.0,
        "max_violation": [[0.0]],
        "device_violation": [[0.0]],
        "domains": domains,
        "sequence_load": [[[int(i == domain) for i in range(4)] for domain in domains]],
    }
    summary = summarise(result)
    assert summary["information"] == pytest.approx([math.log(4)])
    assert summary["shuffled"][0] < 0.2


def test_a_device_holds_four_neighbours():
    load = torch.tensor([4.0, 0, 0, 0, 1, 1, 0, 0])
    assert device_violation(load) == pytest.approx(4 / 3 - 1)
    assert device_violation(load, 2) == pytest.approx(4 / 1.5 - 1)
    assert device_violation(load[:4]) == device_violation(load, 8) == 0
    run = train_toy(steps=10, n_experts=4, n_active=1)
    assert run["device_violation"] == [[0.0, 0.0]]  # all four on one device
    assert min(run["max_violation"][0]) > 0


def test_the_loads_of_the_test_are_chosen_with_the_bias():
    """With a bias that outweighs every score, who lies below the others gets no work."""
    run = train_toy(steps=10, gamma=2.0)
    n_low = 0
    for bias, sequence_load in zip(run["bias"][-1], run["sequence_load"], strict=True):
        low = torch.tensor(bias) < max(bias)
        load = torch.tensor(sequence_load).sum(dim=0)
        assert load[low].sum() == 0 and load.sum() == 512 * 32 * 2
        n_low += int(low.sum())
    assert n_low > 0


@pytest.mark.parametrize(
    "change", [{"alpha": 1.0}, {"alpha": 0.01}, {"sameness": 0.5}, {"gamma": 0.5}]
)
def test_each_remedy_changes_the_run(change):
    assert train_toy(steps=10, **change)["excess"] != train_toy(steps=10)["excess"]


def test_the_loss_over_a_batch_is_another_than_that_over_sequences():
    over = [train_toy(steps=10, alpha=1.0, whole_batch=whole)["excess"] for whole in (True, False)]
    assert over[0] != over[1]


def test_raw_gates_are_scaled_to_about_one():
    for n_active, factor in ((1, 2.0), (4, 0.5), (16, 0.125)):
        config = toy_config(n_active=n_active, normalise=False)
        assert config.routed_scaling_factor == factor and not config.norm_topk_prob
    assert toy_config(n_active=4).routed_scaling_factor == 1.0
    layer = MixtureOfExperts(toy_config(n_active=4, normalise=False))
    gates, _, _ = layer.router(torch.randn(200, HIDDEN))
    assert gates.sum(dim=1).mean().item() == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize("n_domains, seed", [(1, 0), (1, 1), (3, 2)])
def test_the_entropy_floor_is_exact(n_domains, seed):
    """Each chain's stationary distribution from a linear system, in place of the chapter's iteration."""
    language = MarkovLanguage(n_domains, n_symbols=6, n_successors=3, seed=seed)
    floor, weights = 0.0, [1 / (i + 1) for i in range(n_domains)]
    for weight, table in zip(weights, language.table.double(), strict=True):
        system = torch.cat([table.T - torch.eye(6), torch.ones(1, 6)])
        right = torch.tensor([[0.0]] * 6 + [[1.0]], dtype=torch.float64)
        visits = torch.linalg.lstsq(system, right).solution[:, 0]
        entropy = -torch.special.xlogy(table, table).sum(dim=1)
        floor += weight / sum(weights) * (visits @ entropy).item()
    assert language.entropy_floor() == pytest.approx(floor, abs=1e-5)
    assert (language.visits.amax(dim=1) > 1.05 / 6).all()  # so the visits matter


def test_training_gives_the_threads_back():
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train_toy(steps=1)
        assert torch.get_num_threads() == 2
        with pytest.raises(ValueError):
            train_toy(steps=0)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)


def test_a_training_run_can_be_sent_to_another_process():
    """A notebook defines it in its own cells, so it travels by value, not by name."""
    cloudpickle.register_pickle_by_value(sys.modules[train_toy.__module__])
    try:
        sent = pickle.loads(cloudpickle.dumps(train_toy))
    finally:
        cloudpickle.unregister_pickle_by_value(sys.modules[train_toy.__module__])
    assert sent(steps=1)["excess"] == train_toy(steps=1)["excess"]


def test_every_published_record_of_the_chapter_is_whole():
    """Five seeds of each long arm, three at other rates, and dense runs as long as the experts'."""
    path = ROOT / "deepseek_explained" / "recorded" / "moe.json"
    recorded = json.loads(path.read_text(encoding="utf-8"))
    for part, record in recorded.items():
        for runs in record["long"].values():
            assert [run["seed"] for run in runs] == list(range(3 if part == "rates" else 5))
    for name in BALANCE_ARMS:
        for rate in (0.005, 0.03):
            assert f"{name}, rate {rate}" in recorded["rates"]["long"]
    time = recorded["time"]["long"]
    for rate in (0.01, 0.03):
        longer, experts = time[f"dense, longer, rate {rate}"], time[f"experts, rate {rate}"]
        seconds = [sum(run["seconds"] for run in runs) for runs in (longer, experts)]
        assert 0.8 < seconds[0] / seconds[1] < 1.25
        assert longer[0]["steps"] > experts[0]["steps"] == 600
