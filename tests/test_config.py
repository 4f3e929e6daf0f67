import math
from dataclasses import replace
from functools import partial

import pytest
import transformers

from deepseek_explained.config import (
    TINY_SENTENCE,
    TINY_TOKEN,
    TINY_WORDS,
    DeepSeekConfig,
    amount,
    check_experts,
    check_groups,
    finite_number,
    flag,
    fraction,
    of_kind,
    one_of,
    published_config,
    shown,
    whole_number,
)


def test_the_published_file_reads_and_round_trips():
    config = DeepSeekConfig.from_dict(published_config("deepseek-v3"))
    assert (config.hidden_size, config.n_routed_experts, config.routed_scaling_factor) == (
        7168,
        256,
        2.5,
    )
    assert (config.rope_scaling.factor, config.rope_scaling.original_max_position_embeddings) == (
        40,
        4096,
    )
    assert DeepSeekConfig.from_dict(config.to_dict()) == config


def test_both_spellings_of_the_rotary_settings_give_one_configuration():
    published = published_config("deepseek-v3")
    written = transformers.DeepseekV3Config(
        **{name: value for name, value in published.items() if name != "model_type"}
    ).to_dict()
    assert "rope_scaling" not in written
    assert DeepSeekConfig.from_dict(written) == DeepSeekConfig.from_dict(published)


def test_the_tiny_model_has_a_word_for_each_token():
    assert len(TINY_WORDS) == len(set(TINY_WORDS)) == published_config("tiny")["vocab_size"]
    assert set(TINY_SENTENCE) <= set(TINY_WORDS)
    assert TINY_TOKEN in TINY_SENTENCE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("hidden_size", None),
        ("hidden_size", "7168"),
        ("hidden_size", 7168.0),
        ("hidden_size", True),
        ("num_hidden_layers", 0),
        ("num_attention_heads", -1),
        ("vocab_size", 10**400),
        ("rms_norm_eps", math.nan),
        ("routed_scaling_factor", math.inf),
        ("norm_topk_prob", 1),
        ("num_experts_per_tok", 9),
        ("n_group", 3),
        ("topk_group", 5),
        ("first_k_dense_replace", 4),
        ("qk_rope_head_dim", 3),
        ("q_lora_rank", 0),
        ("n_shared_experts", -1),
        ("n_group", 8),
        ("topk_method", "greedy"),
        ("moe_layer_freq", 2),
        ("moe_layer_freq", True),
        ("rope_theta", 10**400),
        ("rope_scaling", False),
        ("rope_scaling", 0),
        ("rope_parameters", "x"),
        ("scoring_func", "softmax"),
        ("hidden_act", "gelu"),
        ("model_type", "gpt2"),
        ("rope_scaling", "yarn"),
    ],
)
def test_an_impossible_value_is_refused_by_name(field, value):
    content = published_config("tiny") | {field: value}
    with pytest.raises(ValueError, match=rf"^{field}\b"):
        DeepSeekConfig.from_dict(content)


@pytest.mark.parametrize(
    "field",
    [
        "model_type",
        "hidden_size",
        "q_lora_rank",
        "n_routed_experts",
        "n_shared_experts",
        "first_k_dense_replace",
    ],
)
def test_a_missing_field_is_named(field):
    content = published_config("tiny")
    del content[field]
    with pytest.raises(ValueError, match=f"^{field}: missing"):
        DeepSeekConfig.from_dict(content)


@pytest.mark.parametrize(
    ("scaling", "complaint"),
    [
        ({"type": "linear", "factor": 2.0}, r"rope_scaling\.type"),
        (
            {"type": "yarn", "factor": 4.0},
            r"rope_scaling\.original_max_position_embeddings: missing",
        ),
        (
            {"type": "yarn", "original_max_position_embeddings": 64},
            r"rope_scaling\.factor: missing",
        ),
        (
            {"type": "yarn", "factor": 0.5, "original_max_position_embeddings": 64},
            r"rope_scaling\.factor",
        ),
        (
            {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": "64"},
            r"rope_scaling\.original",
        ),
        (
            {
                "type": "yarn",
                "factor": 4.0,
                "original_max_position_embeddings": 64,
                "beta_fast": -1,
            },
            "beta_fast",
        ),
    ],
)
def test_rotary_settings_are_checked_too(scaling, complaint):
    with pytest.raises(ValueError, match=complaint):
        DeepSeekConfig.from_dict(published_config("tiny") | {"rope_scaling": scaling})


def test_an_unknown_configuration_names_those_there_are():
    with pytest.raises(
        ValueError, match="configuration: expected one of .*deepseek-v3.*; got 'gpt-5'"
    ):
        published_config("gpt-5")


YARN = {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("beta_slow", 0),
        ("mscale", False),
        ("mscale", -1),
        ("mscale_all_dim", "1"),
        ("factor", 10**400),
    ],
)
def test_yarn_settings_are_named_as_the_file_spells_them(field, value):
    for container in ("rope_scaling", "rope_parameters"):
        content = published_config("tiny") | {container: YARN | {field: value}}
        with pytest.raises(ValueError, match=rf"^{container}\.{field}: expected "):
            DeepSeekConfig.from_dict(content)


def test_the_newer_spelling_of_the_rotary_settings_wins():
    content = published_config("tiny") | {
        "rope_theta": 500.0,
        "rope_scaling": YARN,
        "rope_parameters": {"rope_type": "default", "rope_theta": 700.0},
    }
    config = DeepSeekConfig.from_dict(content)
    assert (config.rope_theta, config.rope_scaling) == (700.0, None)
    newer = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    assert DeepSeekConfig.from_dict(content | {"rope_parameters": newer}).rope_scaling.factor == 4
    del content["rope_parameters"]
    config = DeepSeekConfig.from_dict(content)
    assert (config.rope_theta, config.rope_scaling.beta_slow, config.rope_scaling.factor) == (
        500,
        1,
        4,
    )


def test_null_means_none_where_it_has_a_meaning():
    content = published_config("tiny") | {"n_shared_experts": None, "q_lora_rank": None}
    config = DeepSeekConfig.from_dict(content)
    assert (config.n_shared_experts, config.q_lora_rank) == (0, None)
    assert DeepSeekConfig.from_dict(published_config("kimi-k2")).n_routed_experts == 384


def test_a_long_value_is_not_echoed_in_full():
    with pytest.raises(ValueError, match="hidden_size: expected") as caught:
        DeepSeekConfig.from_dict(published_config("tiny") | {"hidden_size": "x" * 10**6})
    assert len(str(caught.value)) < 200


# --- The checks themselves, at their limits

BELOW, ABOVE = 0.9e-30, 1.1e30


@pytest.mark.parametrize(
    ("check", "accepted", "refused"),
    [
        (whole_number, (1, 10**9), (0, 10**9 + 1, 1.0, "1", True, None)),
        (partial(whole_number, minimum=3), (3,), (2,)),
        (finite_number, (1e-30, 1, 1e30), (0, -1, BELOW, ABOVE, 10**400, "1", True, math.inf)),
        (amount, (0, 0.0, 1e-30, 1, 1e30), (-1, BELOW, ABOVE, 10**400, "1", True, False, math.nan)),
        (partial(amount, maximum=100), (0, 100), (101, "1")),
        (fraction, (1e-30, 0.5, 1), (0, BELOW, 1.1, 2, "1", True, math.nan)),
        (flag, (True, False), (0, 1, "true", None)),
        (partial(of_kind, kind=str), ("text", ""), (1, None)),
        (partial(one_of, options=("a", "b")), ("a", "b"), ("c", "", 1, ["a"])),
    ],
)
def test_what_is_accepted_comes_back_and_what_is_not_is_refused_by_name(check, accepted, refused):
    for value in accepted:
        assert check("field", value) == value
    for value in refused:
        with pytest.raises(ValueError, match=r"^field: expected .*got "):
            check("field", value)


def test_refusals_say_what_was_expected():
    for check, value, words in (
        (partial(whole_number, minimum=3), 2, "a whole number from 3 to 1,000,000,000, got 2"),
        (amount, -1, "a finite number, 0 or more, got -1"),
        (partial(amount, maximum=100), 101, "a finite number, 0 to 100, got 101"),
        (partial(of_kind, kind=str), 1, "a str, got 1"),
        (partial(one_of, options=("a", "b")), "c", "one of a, b; got 'c'"),
    ):
        with pytest.raises(ValueError, match=f"^field: expected {words}$"):
            check("field", value)


def test_a_value_is_shown_up_to_sixty_characters():
    assert shown(10**59) == "1" + 59 * "0"
    assert shown(10**60) == "1" + 59 * "0" + "..."


def test_as_many_active_experts_as_there_are_and_no_more():
    check_experts(8, 8)
    with pytest.raises(ValueError, match="^num_experts_per_tok: expected at most the 8 routed"):
        check_experts(8, 9)


def test_groups_hold_two_experts_and_reach_enough():
    for n_routed, n_active, n_group, topk_group in ((1, 1, 1, 1), (8, 4, 4, 2), (8, 8, 4, 4)):
        check_groups(n_routed, n_active, n_group, topk_group)
    for numbers, complaint in (
        ((8, 5, 4, 2), "num_experts_per_tok: expected at most the 4 experts"),
        ((2, 1, 2, 1), "n_group: expected at least two"),
        ((8, 1, 3, 1), "n_group: expected a divisor"),
        ((8, 1, 4, 5), "topk_group: expected at most n_group = 4"),
    ):
        with pytest.raises(ValueError, match=f"^{complaint}"):
            check_groups(*numbers)


def test_what_a_file_leaves_out_changes_nothing():
    content = published_config("tiny")
    optional = (
        *("n_group", "topk_group", "num_nextn_predict_layers", "routed_scaling_factor"),
        *("norm_topk_prob", "rope_theta", "attention_bias", "tie_word_embeddings"),
    )
    for name in optional:
        content.pop(name, None)
    config = DeepSeekConfig.from_dict(content)
    assert (config.n_group, config.topk_group, config.num_nextn_predict_layers) == (1, 1, 0)
    assert (config.routed_scaling_factor, config.norm_topk_prob) == (1, True)
    assert (config.attention_bias, config.tie_word_embeddings) == (False, False)
    assert config.rope_theta == 10_000  # as in the paper on rotary encoding
    without = {name: content[name] for name in content if name != "n_shared_experts"}
    shape = {field: without[field] for field in DeepSeekConfig.__annotations__ if field in without}
    plain = DeepSeekConfig(**shape | {"rope_scaling": None})
    assert (plain.n_shared_experts, plain.rope_theta) == (1, 10_000)


def test_yarn_has_the_published_defaults():
    """DeepSeek-V3's file spells out what YaRN takes anyway, but for mscale_all_dim, which then scales nothing."""
    published = published_config("deepseek-v3")
    scaling = published["rope_scaling"]
    short = {name: scaling[name] for name in ("type", "factor", "original_max_position_embeddings")}
    full = DeepSeekConfig.from_dict(published).rope_scaling
    read = DeepSeekConfig.from_dict(published | {"rope_scaling": short}).rope_scaling
    assert read == replace(full, mscale_all_dim=0)


@pytest.mark.parametrize("factor", [1, 1.5])
def test_a_context_may_stay_or_be_stretched_by_any_factor(factor):
    content = published_config("tiny") | {"rope_scaling": YARN | {"factor": factor}}
    assert DeepSeekConfig.from_dict(content).rope_scaling.factor == factor


def test_all_layers_or_none_may_be_dense():
    content = published_config("tiny")
    for n_dense in (0, content["num_hidden_layers"]):
        config = DeepSeekConfig.from_dict(content | {"first_k_dense_replace": n_dense})
        assert config.first_k_dense_replace == n_dense


def test_what_is_no_configuration_is_refused():
    with pytest.raises(ValueError, match="^model_type: expected the content of a config.json"):
        DeepSeekConfig.from_dict([])
    config = DeepSeekConfig.from_dict(published_config("tiny"))
    with pytest.raises(ValueError, match="^rope_scaling: expected YarnScaling or None"):
        replace(config, rope_scaling=YARN)
