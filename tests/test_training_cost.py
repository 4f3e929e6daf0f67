"""The cost of a run against its published figures, each with a tolerance and the reason for it, and its properties."""

import json
import math
import random
from dataclasses import replace
from pathlib import Path

import pytest

from deepseek_explained import training_cost
from deepseek_explained.budget import (
    NO_EXPERTS,
    GroupedQueryAttention,
    LatentAttention,
    ModelSpec,
    count_parameters,
    training_flops_per_token,
)
from deepseek_explained.config import TINY_SENTENCE, TINY_TOKEN, published_config
from deepseek_explained.facts import compare, fact
from deepseek_explained.training_cost import (
    DEFINITIONS,
    GPUS,
    Assumption,
    Cost,
    TrainingRun,
    carbon_tonnes,
    dense_peak,
    dense_twin,
    electricity_cost,
    electricity_kwh,
    format_sheet,
    gpu_hours,
    gpu_hours_by_the_clock,
    mtp_training_flops_per_token,
    rent,
    sheet,
    utilisation,
    with_multi_head_attention,
    work_per_token,
)


def spec_of(name):
    return ModelSpec.from_config(published_config(name))


V3 = spec_of("deepseek-v3")
BF16, FP8 = 989.5e12, 1979e12
STEP, TOKENS_PER_STEP, CLUSTER = 19.926, 15_360 * 4096, 2048
TOKENS = 14.8e12
CAUSAL = training_flops_per_token(V3, 4096)
SQUARE = training_flops_per_token(V3, 4096, causal=False)


def v3_run(**changes):
    values = {
        "spec": V3,
        "tokens": TOKENS,
        "context_length": 4096,
        "peak_flops": BF16,
        "utilisation": 0.3894,
        "n_gpus": CLUSTER,
        "usd_per_gpu_hour": 2.0,
    }
    return TrainingRun(**values | changes)


def test_the_inputs_above_are_those_of_the_ledger():
    assert dense_peak("h800") == BF16 == fact("gpu.h800.bf16").value
    assert dense_peak("h800", "fp8") == FP8
    assert fact("isca.step.mpft").value == STEP
    assert fact("train.batch").value * fact("v3.orig_pos").value == TOKENS_PER_STEP
    assert fact("train.cluster").value == CLUSTER
    assert fact("train.tokens").value == TOKENS


# Published figures from the step time: nothing of the model enters.


def test_the_watch_gives_hours_days_and_tokens_within_the_rounding_of_the_published_figures():
    """180K, 3.7 days and 272.8B are rounded by their sources; each must come out as printed."""
    per_trillion = gpu_hours_by_the_clock(1e12, TOKENS_PER_STEP, STEP, CLUSTER)
    assert compare("train.hours_per_trillion", per_trillion).status == "within rounding"
    days = per_trillion / CLUSTER / 24
    assert compare("train.days_per_trillion", days).status == "within rounding"
    per_day = TOKENS_PER_STEP / STEP * 86_400
    assert compare("isca.tokens_day.mpft", per_day).status == "within rounding"


def test_the_watch_gives_the_hours_of_pretraining():
    """0.3 %: the published 2,664K is 180K x 14.8, and 180K alone may be off by 0.5 in 180."""
    hours = gpu_hours_by_the_clock(TOKENS, TOKENS_PER_STEP, STEP, CLUSTER)
    assert hours == pytest.approx(fact("train.hours_pre").value, rel=0.003)
    assert fact("train.hours_per_trillion").value * 14.8 == fact("train.hours_pre").value


def test_the_stages_add_up_and_their_dollars_are_exact():
    """No tolerance but that of floating point: the report multiplies by 2 dollars itself."""
    stages = ("pre", "context", "post")
    hours = [fact(f"train.hours_{stage}").value for stage in stages]
    assert sum(hours) == fact("train.hours_total").value == 2_788_000
    for stage, n in zip((*stages, "total"), (*hours, sum(hours)), strict=True):
        assert rent(n, 2).dollars == pytest.approx(fact(f"train.usd_{stage}").value, rel=1e-12)


# Published figures from FLOPs and utilisation.


def test_the_two_routes_meet():
    """0.4 %: our FLOPs are 250.46 where the source rounds to 250 (0.2 %), its utilisation has four digits."""
    by_clock = gpu_hours_by_the_clock(TOKENS, TOKENS_PER_STEP, STEP, CLUSTER)
    assert v3_run().gpu_hours == pytest.approx(by_clock, rel=0.004)
    assert v3_run().gpu_hours == pytest.approx(2_664_000, rel=0.004)
    assert v3_run().days == pytest.approx(54.3, abs=0.2)
    assert v3_run().tokens_per_day == pytest.approx(272.8e9, rel=0.004)
    assert v3_run().cost.dollars == pytest.approx(5.328e6, rel=0.004)


def test_the_routes_meet_exactly_when_utilisation_is_that_of_the_watch():
    by_clock = gpu_hours_by_the_clock(TOKENS, TOKENS_PER_STEP, STEP, CLUSTER)
    share = utilisation(CAUSAL * TOKENS, by_clock, BF16)
    assert v3_run(utilisation=share).gpu_hours == pytest.approx(by_clock, rel=1e-12)


@pytest.mark.parametrize(
    ("identifier", "flops", "low", "high"),
    [
        ("isca.mfu_causal.mpft", CAUSAL, 38.9, 39.1),
        ("isca.mfu_noncausal.mpft", SQUARE, 43.7, 43.9),
    ],
)
def test_utilisation_by_every_route(identifier, flops, low, high):
    """0.3 %: the count may leave out the router (0.25 %), and 180K may be off by 0.28 %."""
    by_clock = gpu_hours_by_the_clock(1e12, TOKENS_PER_STEP, STEP, CLUSTER)
    by_day = 1e12 / 272.8e9 * 24 * CLUSTER
    for hours in (by_clock, by_day, 180e3):
        share = 100 * utilisation(flops * 1e12, hours, BF16)
        assert low < share < high
        assert share == pytest.approx(fact(identifier).value, rel=0.0033)


def test_the_published_250_gives_the_low_end():
    hours = gpu_hours_by_the_clock(1e12, TOKENS_PER_STEP, STEP, CLUSTER)
    assert 100 * utilisation(250e9 * 1e12, hours, BF16) == pytest.approx(38.94, abs=0.02)


@pytest.mark.parametrize(
    ("flops", "hours", "percent"),
    [
        (6 * 37e9 * TOKENS, 2_788_000, 16.5),
        (6 * count_parameters(V3).activated * TOKENS, 2_664_000, 17.1),
        (CAUSAL * TOKENS, 2_664_000, 19.5),
    ],
    ids=["37 billion, all hours", "N counted", "term by term"],
)
def test_utilisation_of_the_fp8_peak(flops, hours, percent):
    """0.05: each is quoted with one decimal."""
    assert 100 * utilisation(flops, hours, FP8) == pytest.approx(percent, abs=0.05)


def test_all_671_billion_at_work_is_impossible():
    assert utilisation(6 * count_parameters(V3).total * TOKENS, 2_664_000, BF16) > 6


def test_a_peak_with_sparsity_would_halve_the_hours():
    assert dense_peak("h100", "bf16") < 0.51 * fact("gpu.h100.bf16_sparse").value
    ratio = v3_run().gpu_hours / v3_run(peak_flops=2 * BF16).gpu_hours
    assert ratio == pytest.approx(2)


# Other runs.


def test_the_saving_of_v2():
    """Within rounding: a quotient of two published figures of four digits."""
    saved = 1 - fact("v2.hours_per_trillion").value / fact("ds67b.hours_per_trillion").value
    assert compare("v2.training_saving", 100 * saved).status == "within rounding"


@pytest.mark.parametrize(
    ("name", "hours", "percent"),
    [("deepseek-llm-67b", 300.6e3, 39.1), ("deepseek-v2", 172.8e3, 25.2)],
)
def test_utilisation_of_the_earlier_models(name, hours, percent):
    flops = training_flops_per_token(spec_of(name), 4096) * 1e12
    assert 100 * utilisation(flops, hours, BF16) == pytest.approx(percent, abs=0.05)


def test_llama_405b():
    """Within rounding for 6 N D (3.8 has two digits); 4 % term by term, whose look back 6 N D leaves out."""
    llama, tokens = spec_of("llama-3.1-405b"), fact("llama31.tokens").value
    assert compare("llama31.flop_405b", 6 * count_parameters(llama).total * tokens).status in (
        "exact",
        "within rounding",
    )
    term_by_term = training_flops_per_token(llama, 8192) * tokens
    assert term_by_term == pytest.approx(3.8e25, rel=0.04)
    hours = fact("llama31.hours_405b").value
    assert 100 * utilisation(3.8e25, hours, dense_peak("h100")) == pytest.approx(34.6, abs=0.05)
    assert rent(hours, 2).dollars == pytest.approx(61.68e6)


def test_carbon_of_llama_is_one_factor_and_near_two_published_averages():
    """1.5 %: 420 tonnes and 7.0 million hours have two or three digits. 6 %: PUE and grid are averages of elsewhere."""
    pairs = [("405b", "405b"), ("70b", "70b"), ("8b", "8b"), ("total", "total")]
    implied = []
    for hours, tonnes in pairs:
        kwh = electricity_kwh(fact(f"llama31.hours_{hours}").value, 700, 1.0, 1.0)
        implied.append(fact(f"llama31.co2_{tonnes}").value * 1000 / kwh)
    assert max(implied) / min(implied) < 1.015
    ours = fact("pue.meta").value * fact("grid.us").value * 0.45359237
    assert ours == pytest.approx(implied[0], rel=0.06)


# Twins.


def test_multi_head_twin_by_hand():
    twin = with_multi_head_attention(V3)
    assert twin.attention == GroupedQueryAttention(128, 128, 128)
    more = 4 * 7168 * 128 * 128 - V3.attention.matrix_entries(7168)
    look_back = 61 * 3 * 128 * (256 - 320) * 4097
    assert training_flops_per_token(twin, 4096) - CAUSAL == 6 * 61 * more + look_back
    assert with_multi_head_attention(V3, 8).attention.n_kv_heads == 8
    assert with_multi_head_attention(spec_of("llama-3.1-8b")).attention.n_kv_heads == 32


def test_dense_twins_meet_what_was_asked_for():
    counted = count_parameters(V3)
    one_wide = 61 * 3 * 7168
    for activated in (counted.activated, counted.total - counted.by_component["embedding"]):
        twin = dense_twin(V3, activated)
        assert abs(count_parameters(twin).activated - activated) <= one_wide / 2
        assert twin.attention == V3.attention and twin.n_layers == 61
    same = dense_twin(V3, counted.activated)
    assert training_flops_per_token(same, 4096) == pytest.approx(CAUSAL, rel=1e-4)
    assert same.experts == NO_EXPERTS
    full = dense_twin(V3, counted.total)
    assert training_flops_per_token(full, 4096) > 16 * CAUSAL


def test_mtp_work_by_hand():
    """One MoE layer as met, a projection from 2 d to d, the head, one layer's look back."""
    d, expert = 7168, 3 * 7168 * 2048
    matrices = V3.attention.matrix_entries(d) + 9 * expert + 256 * d + 2 * d * d + 129_280 * d
    expected = 6 * matrices + 3 * 128 * 320 * 4097
    assert mtp_training_flops_per_token(V3, 4096) == expected
    assert work_per_token(V3, 4096) == CAUSAL + expected
    none = replace(V3, n_mtp_modules=0)
    assert mtp_training_flops_per_token(none, 4096) == 0
    assert work_per_token(none, 4096) == CAUSAL
    two = replace(V3, n_mtp_modules=2)
    assert mtp_training_flops_per_token(two, 4096) == 2 * expected
    last_layers = replace(V3, n_dense_layers=60, n_moe_layers=1)
    assert mtp_training_flops_per_token(last_layers, 4096) == expected
    dense = dense_twin(V3, 37e9)
    of_layers = 9 * expert + 256 * d - 3 * d * dense.intermediate_size
    assert mtp_training_flops_per_token(dense, 4096) == expected - 6 * of_layers


def test_the_smallest_dense_twin_is_one_wide():
    bare = count_parameters(dense_twin(V3, 37e9)).activated
    smallest = bare - 61 * 3 * 7168 * (dense_twin(V3, 37e9).intermediate_size - 1)
    assert dense_twin(V3, smallest).intermediate_size == 1
    with pytest.raises(ValueError, match=f"^activated: expected at least {smallest:,}, "):
        dense_twin(V3, smallest - 1)


def test_an_hour_has_3600_seconds():
    assert gpu_hours(7.2e15, peak_flops=1e12, utilisation=0.5) == 4
    assert gpu_hours_by_the_clock(100, 10, seconds_per_step=36, n_gpus=5) == 0.5
    assert utilisation(7.2e15, gpu_hours=4, peak_flops=1e12) == 0.5


def test_a_range_may_be_a_point():
    for numbers in ((1, 1, 2), (1, 2, 2), (0, 0, 0)):
        assert Assumption("x", *numbers, "", "because").range == numbers


# The sheet.

SHEET = {
    "tokens": TOKENS,
    "context_length": 4096,
    "peak_flops": BF16,
    "utilisation": 0.3894,
    "n_gpus": CLUSTER,
    "other_gpu_hours": 124_000,
    "usd_per_gpu_hour": 2.0,
}


def test_the_sheet_leads_from_config_to_dollars():
    """0.4 % as for the routes; the parameters and FLOPs as they are printed."""
    lines = sheet(published_config("deepseek-v3"), **SHEET)
    assert 12 <= len(lines) <= 14
    published = {line.published: line for line in lines if line.published}
    assert published["train.usd_total"].value == pytest.approx(5.576, rel=0.004)
    assert published["train.hours_total"].value == pytest.approx(2788, rel=0.004)
    assert round(published["v3.active_pub"].value) == 37
    assert round(published["isca.flops_v3"].value) == 250
    assert round(published["isca.tflops_causal"].value) == 385
    text = format_sheet(lines)
    rows = text.splitlines()
    assert len(rows) == len(lines)
    for number, (row, line) in enumerate(zip(rows, lines, strict=True), start=1):
        assert row.split()[0] == str(number)
        assert line.what in row and line.formula in row and row.endswith(f" {line.unit}")
        assert f"{line.value:,.3f}" in row
    assert all(fact(identifier).source for identifier in published)


def test_every_line_of_the_sheet_by_another_way():
    """Within floating point: what the lines say is counted here from the published shapes and from the run."""
    run, hours = v3_run(), v3_run().gpu_hours + 124_000
    one_expert = 3 * 7168 * 2048
    look_back = 3 * 61 * 128 * (192 + 128) * 4097
    expected = {
        "attention, one layer": (V3.attention.matrix_entries(7168) / 1e6, "million"),
        "one expert": (one_expert / 1e6, "million"),
        "layer of experts, met": ((9 * one_expert + 256 * 7168) / 1e6, "million"),
        "matrices that a token meets": ((CAUSAL - look_back) / 6e9, "billion"),
        "6 N": ((CAUSAL - look_back) / 1e9, "GFLOP"),
        "look back": (look_back / 1e9, "GFLOP"),
        "FLOPs per token": (CAUSAL / 1e9, "GFLOP"),
        "FLOPs of the run": (run.flops / 1e24, "10^24 FLOP"),
        "one GPU does": (BF16 * 0.3894 / 1e12, "TFLOP/s"),
        "pre-training": (run.gpu_hours / 1e3, "thousand GPU-hours"),
        "days": (run.days, "days"),
        "all stages": (hours / 1e3, "thousand GPU-hours"),
        "rented run": (hours * 2 / 1e6, "million US dollars"),
    }
    lines = sheet(published_config("deepseek-v3"), **SHEET)
    assert [line.what for line in lines] == list(expected)
    for line in lines:
        value, unit = expected[line.what]
        assert line.value == pytest.approx(value) and line.unit == unit and line.formula
    assert [line.what for line in lines if line.published == "train.hours_pre"] == ["pre-training"]


@pytest.mark.parametrize("name", ["deepseek-v3", "kimi-k2", "tiny"])
def test_the_sheet_counts_as_the_budget_does(name):
    config = published_config(name)
    lines = {line.what: line.value for line in sheet(config, **SHEET)}
    flops = training_flops_per_token(ModelSpec.from_config(config), 4096)
    assert lines["FLOPs per token"] == flops / 1e9


def test_the_sheet_without_query_compression():
    config = published_config("tiny") | {"q_lora_rank": None}
    lines = {line.what: line.value for line in sheet(config, **SHEET)}
    assert lines["FLOPs per token"] * 1e9 == pytest.approx(
        training_flops_per_token(ModelSpec.from_config(config), 4096)
    )


# Properties.


def random_run(seed):
    draw = random.Random(seed)
    name = draw.choice(("tiny", "deepseek-v3", "deepseek-v2", "llama-3.1-8b", "qwen3-30b-a3b"))
    return TrainingRun(
        spec_of(name),
        tokens=10 ** draw.uniform(0, 14),
        context_length=draw.randint(1, 10_000),
        peak_flops=10 ** draw.uniform(9, 16),
        utilisation=draw.uniform(0.01, 1),
        n_gpus=draw.randint(1, 100_000),
        usd_per_gpu_hour=draw.uniform(0, 10),
        causal=draw.random() < 0.5,
    )


@pytest.mark.parametrize("seed", range(40))
def test_properties_of_cost(seed):
    run = random_run(seed)
    assert run.cost.dollars >= 0 and math.isfinite(run.cost.dollars)
    more = replace(run, tokens=run.tokens * random.Random(seed).uniform(1, 9))
    assert more.cost.dollars >= run.cost.dollars and more.gpu_hours >= run.gpu_hours
    dearer = replace(run, usd_per_gpu_hour=2 * run.usd_per_gpu_hour)
    assert dearer.cost.dollars == pytest.approx(2 * run.cost.dollars)
    assert dearer.gpu_hours == run.gpu_hours
    wider = replace(run, n_gpus=2 * run.n_gpus)
    assert wider.cost == run.cost and wider.days == pytest.approx(run.days / 2)
    longer = replace(run, context_length=run.context_length + 1)
    assert longer.gpu_hours > run.gpu_hours
    assert run.tokens_per_day * run.days == pytest.approx(run.tokens)
    back = utilisation(run.flops, run.gpu_hours, run.peak_flops)
    assert back == pytest.approx(run.utilisation)


def test_nothing_costs_nothing():
    assert v3_run(tokens=0).cost.dollars == 0
    assert rent(0, 2).dollars == 0 == rent(5, 0).dollars
    assert carbon_tonnes(0, 0.5) == 0


def test_electricity_by_hand():
    kwh = electricity_kwh(1000, watts_per_gpu=700, power_utilisation=0.5, pue=1.2)
    assert kwh == pytest.approx(420)
    assert carbon_tonnes(kwh, 0.5) == pytest.approx(0.21)
    assert electricity_cost(kwh, 0.1).dollars == pytest.approx(42)
    assert electricity_cost(kwh, 0.1).definition == "electricity"


def test_every_cost_says_which_definition_it_is():
    assert set(DEFINITIONS) == {"rented run", "electricity"}
    for cost in (v3_run().cost, rent(1, 1)):
        assert cost.definition == "rented run" and "rented run" in str(cost)


def test_peaks_are_there_for_every_gpu_and_dense():
    for gpu in GPUS:
        assert dense_peak(gpu, "fp8") >= dense_peak(gpu, "bf16") > 0


BAD = [math.nan, math.inf, "7", None, True, -1]
CONFIG = published_config("tiny")


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize(
    "field",
    ["tokens", "context_length", "peak_flops", "utilisation", "n_gpus", "usd_per_gpu_hour"],
)
def test_a_run_refuses_bad_fields_by_name(field, value):
    with pytest.raises(ValueError, match=rf"^{field}: expected "):
        v3_run(**{field: value})
    with pytest.raises(ValueError, match=rf"^{field}: expected "):
        sheet(CONFIG, **SHEET | {field: value})


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: v3_run(utilisation=1.01), "utilisation"),
        (lambda: with_multi_head_attention({}), "spec"),
        (lambda: dense_twin("v3", 37e9), "spec"),
        (lambda: mtp_training_flops_per_token(None, 4096), "spec"),
        (lambda: work_per_token(7, 4096), "spec"),
        (lambda: rent([1, 2], 2), "gpu_hours"),
        (lambda: Assumption("x", 1, 2, 3, "", math.nan), "reason"),
        (lambda: Assumption("x", 1, 2, 3, "", 7), "reason"),
        (lambda: Assumption("x", 1, 2, 3, "", " "), "reason"),
        (lambda: v3_run(spec=huge_model()), "flops_per_token"),
        (lambda: v3_run(utilisation=0), "utilisation"),
        (lambda: v3_run(n_gpus=0), "n_gpus"),
        (lambda: v3_run(n_gpus=1.5), "n_gpus"),
        (lambda: v3_run(spec={}), "spec"),
        (lambda: v3_run(causal="yes"), "causal"),
        (lambda: dense_peak("h900"), "gpu"),
        (lambda: dense_peak("H800"), "gpu"),
        (lambda: dense_peak("h800", "fp4"), "precision"),
        (lambda: gpu_hours(-1, BF16, 0.4), "flops"),
        (lambda: gpu_hours(1e20, 0, 0.4), "peak_flops"),
        (lambda: gpu_hours(1e20, BF16, 1.2), "utilisation"),
        (lambda: gpu_hours_by_the_clock(1e12, 0, 1.0, 8), "tokens_per_step"),
        (lambda: gpu_hours_by_the_clock(1e12, 10, math.nan, 8), "seconds_per_step"),
        (lambda: gpu_hours_by_the_clock(1e12, 10, 1.0, -8), "n_gpus"),
        (lambda: gpu_hours_by_the_clock(-1, 10, 1.0, 8), "tokens"),
        (lambda: utilisation(1e20, 0, BF16), "gpu_hours"),
        (lambda: utilisation(1e20, -5, BF16), "gpu_hours"),
        (lambda: utilisation(math.nan, 5, BF16), "flops"),
        (lambda: utilisation(1e20, 5, 0), "peak_flops"),
        (lambda: rent(-1, 2), "gpu_hours"),
        (lambda: rent(1, -2), "usd_per_gpu_hour"),
        (lambda: rent(math.nan, 2), "gpu_hours"),
        (lambda: rent(False, 2), "gpu_hours"),
        (lambda: Cost(-1, "rented run"), "dollars"),
        (lambda: Cost(1, "cheap"), "definition"),
        (lambda: electricity_kwh(-1, 700, 1, 1.1), "gpu_hours"),
        (lambda: electricity_kwh(1, 0, 1, 1.1), "watts_per_gpu"),
        (lambda: electricity_kwh(1, 700, 1.1, 1.1), "power_utilisation"),
        (lambda: electricity_kwh(1, 700, 1, 0.9), "pue"),
        (lambda: electricity_kwh(1, 700, 1, math.nan), "pue"),
        (lambda: carbon_tonnes(1, -0.1), "kg_per_kwh"),
        (lambda: carbon_tonnes(math.inf, 0.1), "kwh"),
        (lambda: electricity_cost(1, math.nan), "usd_per_kwh"),
        (lambda: electricity_cost(-1, 1), "kwh"),
        (lambda: Assumption(7, 1, 2, 3, "", "because"), "name"),
        (lambda: Assumption("x", 1, 2, 3, None, "because"), "unit"),
        (lambda: Assumption("x", 2, 1, 3, "", "because"), "central"),
        (lambda: Assumption("x", 3, 2, 1, "", "because"), "central"),
        (lambda: Assumption("x", 1, 2, 3, "", ""), "reason"),
        (lambda: Assumption("x", math.nan, 2, 3, "", "because"), "low"),
        (lambda: Assumption("x", 1, 2, -3, "", "because"), "high"),
        (lambda: with_multi_head_attention(V3, 7), "n_kv_heads"),
        (lambda: with_multi_head_attention(V3, 0), "n_kv_heads"),
        (lambda: dense_twin(V3, 1e9), "activated"),
        (lambda: dense_twin(V3, math.nan), "activated"),
        (lambda: mtp_training_flops_per_token(V3, 0), "context_length"),
        (lambda: sheet(CONFIG, **SHEET | {"other_gpu_hours": -1}), "other_gpu_hours"),
        (lambda: sheet(published_config("llama-3.1-8b"), **SHEET), "model_type"),
        (lambda: sheet(CONFIG | {"hidden_size": -8}, **SHEET), "hidden_size"),
    ],
)
def test_bad_input_is_refused_by_name(call, named):
    with pytest.raises(ValueError, match=rf"^{named}: expected "):
        call()


def test_latent_attention_is_what_the_twin_replaces():
    assert isinstance(V3.attention, LatentAttention)
    assert isinstance(with_multi_head_attention(V3).attention, GroupedQueryAttention)


# What the chapter says about its numbers. Each sentence was once wrong in the text.


def test_only_the_watch_lies_inside_the_rounding_of_the_published_hours():
    """Both routes use 14.8 trillion tokens, so 180 alone is rounded: 0.28 % either way."""
    hours = fact("train.hours_per_trillion")
    by_clock = gpu_hours_by_the_clock(1e12, TOKENS_PER_STEP, STEP, CLUSTER)
    by_flops = v3_run(tokens=1e12).gpu_hours
    assert hours.rounding / hours.value == pytest.approx(0.00278, abs=1e-5)
    assert compare(hours.id, by_clock).status == "within rounding"
    assert compare(hours.id, by_flops).status == "off"
    with_published_count = by_flops * 250e9 / CAUSAL
    assert compare(hours.id, with_published_count).status == "within rounding"


def test_context_extension_comes_out_only_with_the_whole_square():
    phases = [
        (fact("train.context_batch1").value, 32 * 1024),
        (fact("train.context_batch2").value, 128 * 1024),
    ]
    hours = {}
    for causal, flops in ((True, CAUSAL), (False, SQUARE)):
        pace = flops * TOKENS_PER_STEP / STEP / CLUSTER
        work = sum(
            1000 * batch * length * training_flops_per_token(V3, length, causal)
            for batch, length in phases
        )
        hours[causal] = work / pace / 3600
    published = fact("train.hours_context").value
    assert hours[False] == pytest.approx(published, rel=0.02)
    assert hours[True] < 0.67 * published
    assert published / fact("train.hours_total").value == pytest.approx(1 / 25, abs=0.004)


def test_a_guess_of_the_utilisation_before_the_run():
    """V2's 25 % to 43 %, the best of Llama 3.1: 5.1 to 8.5 million dollars, the published ones inside."""
    v2 = utilisation(training_flops_per_token(spec_of("deepseek-v2"), 4096) * 1e12, 172.8e3, BF16)
    best = fact("llama31.mfu").interval[1] / 100
    low, high = (2 * (v3_run(utilisation=share).gpu_hours + 124e3) for share in (best, v2))
    assert (round(low / 1e6, 1), round(high / 1e6, 1)) == (5.1, 8.5)
    assert low < fact("train.usd_total").value < high


def test_one_factor_of_carbon_only_with_the_rounding_of_the_hours():
    """Tonnes rounded to tens alone leave a gap between the models; with the rounding of the hours there is none."""

    def implied(size, hours_too):
        hours, tonnes = fact(f"llama31.hours_{size}"), fact(f"llama31.co2_{size}")
        slack = hours.rounding if hours_too else 0
        ends = [(-5, slack), (5, -slack)]
        return [(tonnes.value + t) / (hours.value + h) / 0.7 * 1000 for t, h in ends]

    for hours_too in (False, True):
        lows, highs = zip(
            *(implied(size, hours_too) for size in ("405b", "70b", "8b")), strict=True
        )
        assert (max(lows) < min(highs)) is hours_too


def test_the_followed_token_has_fewer_keys_than_the_mean():
    """ "million" is the fourth of ten tokens: 4 keys, not 5.5."""
    tiny, matrices = spec_of("tiny"), 3 * 296 + 3 * 8 * 16 + 2 * (3 * 96 + 8 * 8) + 128
    assert TINY_SENTENCE.index(TINY_TOKEN) == 3
    each = [3 * (2 * matrices + 120 * keys) for keys in range(1, 11)]
    assert each[3] == 14_064
    assert sum(each) == 10 * training_flops_per_token(tiny, 10) == 146_040


def test_equal_cost_by_6nd_puts_v3_on_its_own_price():
    pace = 6 * 37e9 * 1e12 / (180e3 * 3600)
    assert 2 * 6 * 37e9 * TOKENS / pace / 3600 == pytest.approx(fact("train.usd_pre").value)
    v2 = 2 * 6 * fact("v2.active_pub").value * fact("v2.tokens").value / pace / 3600
    assert v2 < 0.6 * 2 * 172.8e3 * 8.1


def test_electricity_is_under_a_tenth_of_the_rent_at_every_corner():
    watts = fact("gpu.h100.node_power_rated").value / 8
    drawn = fact("gpu.h100.node_power").value / fact("gpu.h100.node_power_rated").value
    pue, tariff = (fact(name).interval[1] for name in ("epoch.pue", "epoch.electricity"))
    kwh = electricity_kwh(2.788e6, watts, drawn, pue)
    assert electricity_cost(kwh, tariff).dollars < 0.1 * 5.576e6


def test_the_recorded_measurement_would_not_be_refused_by_the_page():
    text = Path(training_cost.__file__).with_name("recorded") / "training_cost.json"
    record = json.loads(text.read_text(encoding="utf-8"))
    assert set(record) >= {"machine", "date", "seconds", "commit", "n_seeds", "n_rounds", "peak"}
    for times in record["fastest"].values():
        assert len(times) == record["n_seeds"] >= 3
        assert 0 < min(times) and max(times) / min(times) < 1.5


# What a hostile reader found.


def huge_model():
    """A model whose FLOPs are beyond every number that the book accepts."""
    return replace(V3, hidden_size=10**15, vocab_size=10**15)


def test_no_negative_zero():
    for cost in (rent(-0.0, 2), rent(2, -0.0), Cost(-0.0, "rented run")):
        assert math.copysign(1, cost.dollars) == 1 and "-" not in str(cost)
    assert math.copysign(1, gpu_hours(-0.0, BF16, 0.4)) == 1
    assert math.copysign(1, gpu_hours_by_the_clock(-0.0, 10, 1.0, 8)) == 1


def test_a_small_cost_is_not_printed_as_zero():
    assert str(rent(1, 2)) == "$2.00 (rented run)"
    assert str(rent(0.25, 2)) == "$0.50 (rented run)"
    assert str(rent(5_000, 2)) == "$0.010 million (rented run)"
    assert str(rent(0, 2)) == "$0.000 million (rented run)"


def test_the_multi_head_twin_keeps_what_the_attention_had():
    qwen = spec_of("qwen3-30b-a3b")
    assert qwen.attention.qk_norm and with_multi_head_attention(qwen).attention.qk_norm


@pytest.mark.parametrize(
    ("gpu", "bf16", "fp8"),
    [("h800", 989.5, 1979), ("h100", 989, 1979), ("h20", 148, 296), ("b200", 2250, 4500)],
)
def test_dense_peaks_by_value(gpu, bf16, fp8):
    assert dense_peak(gpu, "bf16") == bf16 * 1e12 and dense_peak(gpu, "fp8") == fp8 * 1e12


def test_the_days_of_the_sheet():
    days = {line.what: line.value for line in sheet(published_config("deepseek-v3"), **SHEET)}
    assert days["days"] == pytest.approx(54.4, abs=0.1)


def test_the_sheet_refuses_to_differ_from_the_budget(monkeypatch):
    def off_by_one(spec, context_length, causal=True):
        return training_flops_per_token(spec, context_length, causal) + 1

    monkeypatch.setattr(training_cost, "training_flops_per_token", off_by_one)
    with pytest.raises(ValueError, match="^config: expected "):
        sheet(published_config("tiny"), **SHEET)


def test_only_fp8_multiplies():
    """Without FP8 the worths of the tricks are sums of FLOPs, nearly: MTP copies a layer, which has attention."""
    bare = with_multi_head_attention(replace(V3, n_mtp_modules=0))
    base = work_per_token(V3, 4096)
    singles = sum(
        work_per_token(spec, 4096) - base
        for spec in (replace(V3, n_mtp_modules=0), with_multi_head_attention(V3))
    )
    together = work_per_token(bare, 4096) - base
    assert together == pytest.approx(singles, rel=0.03) and together != singles
    main_only = replace(V3, n_mtp_modules=0)
    dense = dense_twin(main_only, count_parameters(V3).total)
    worth = work_per_token(bare, 4096) - work_per_token(main_only, 4096)
    assert work_per_token(with_multi_head_attention(dense), 4096) - work_per_token(
        dense, 4096
    ) == pytest.approx(worth, rel=1e-9)


def test_six_n_utilisations_for_what_is_counted_by_6nd():
    """37.3, 20.3 and 34.3 %: a run counted by 6 N D is priced by a pace counted by 6 N D."""
    for name, hours, percent in (
        ("deepseek-llm-67b", 300.6e3, 37.3),
        ("deepseek-v2", 172.8e3, 20.3),
        ("deepseek-v3", 180e3, 34.3),
    ):
        six_n = 6 * count_parameters(spec_of(name)).activated * 1e12
        assert 100 * utilisation(six_n, hours, BF16) == pytest.approx(percent, abs=0.05)
