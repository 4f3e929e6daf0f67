"""The counts of `budget` against transformers and torch, which know nothing of our formulas."""

import json
import math
import os
import random
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers

from deepseek_explained.budget import (
    FAMILIES,
    NO_EXPERTS,
    TRAINING_RECIPES,
    GroupedQueryAttention,
    Machine,
    ModelSpec,
    bill,
    count_parameters,
    format_bill,
    forward_flops_per_token,
    kv_cache_bytes_per_token,
    training_flops_per_token,
    training_state_bytes,
    weight_bytes,
)
from deepseek_explained.config import CONFIGS, published_config

PUBLISHED = sorted(path.stem for path in CONFIGS.glob("*.json"))
CLASSES = {
    "deepseek_v2": (transformers.DeepseekV2Config, transformers.DeepseekV2ForCausalLM),
    "deepseek_v3": (transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM),
    "kimi_k2": (transformers.DeepseekV3Config, transformers.DeepseekV3ForCausalLM),
    "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    "mixtral": (transformers.MixtralConfig, transformers.MixtralForCausalLM),
    "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
    "qwen3": (transformers.Qwen3Config, transformers.Qwen3ForCausalLM),
    "qwen3_moe": (transformers.Qwen3MoeConfig, transformers.Qwen3MoeForCausalLM),
}


def spec_of(name):
    return ModelSpec.from_config(published_config(name))


def their_config(content, **extra):
    return CLASSES[content["model_type"]][0](
        **{k: v for k, v in content.items() if k != "model_type"}, **extra
    )


def count_theirs(family, config):
    with torch.device("meta"):
        model = CLASSES[family][1](config)
    biases = sum(
        tensor.numel()
        for name, tensor in model.named_buffers()
        if name.endswith("e_score_correction_bias")
    )
    return sum(tensor.numel() for tensor in model.parameters()) + biases


def random_content(family, seed):
    """A random small config.json of a family, in the spelling of its published files."""
    draw = random.Random(f"{family} {seed}")
    n_kv_heads = draw.choice((1, 2, 3))
    content = {
        "model_type": family,
        "vocab_size": draw.randint(5, 90),
        "hidden_size": 24 * draw.randint(1, 4),
        "intermediate_size": draw.randint(3, 70),
        "num_hidden_layers": draw.randint(1, 5),
        "num_attention_heads": n_kv_heads * draw.choice((1, 2)),
        "num_key_value_heads": n_kv_heads,
        "tie_word_embeddings": draw.random() < 0.5,
    }
    if family in ("deepseek_v2", "deepseek_v3", "kimi_k2"):
        n_group = draw.choice((1, 2, 4))
        content |= {
            "q_lora_rank": draw.choice((None, draw.randint(2, 20))),
            "kv_lora_rank": 2 * draw.randint(1, 10),
            "qk_nope_head_dim": 2 * draw.randint(1, 6),
            "qk_rope_head_dim": 2 * draw.randint(1, 5),
            "v_head_dim": 2 * draw.randint(1, 6),
            "attention_bias": draw.random() < 0.5,
            "moe_intermediate_size": draw.randint(3, 20),
            "first_k_dense_replace": draw.randint(0, content["num_hidden_layers"]),
            "n_routed_experts": n_group * draw.choice((2, 3)),
            "n_shared_experts": draw.choice((1, 2)),
            "n_group": n_group,
            "topk_group": draw.randint(1, n_group),
            "num_experts_per_tok": draw.choice((1, 2)),
        }
        content["num_key_value_heads"] = content["num_attention_heads"]
    if family in ("llama", "qwen3", "qwen3_moe"):
        content |= {"head_dim": 2 * draw.randint(2, 9), "attention_bias": draw.random() < 0.5}
    if family in ("llama", "deepseek_v2"):
        content |= {"mlp_bias": draw.random() < 0.5}
    if family == "mixtral":
        content |= {
            "num_local_experts": draw.randint(2, 6),
            "num_experts_per_tok": 2,
            "head_dim": 2 * draw.randint(2, 9),
        }
    if family == "qwen3_moe":
        layers = range(content["num_hidden_layers"])
        content |= {
            "num_experts": draw.randint(3, 8),
            "num_experts_per_tok": draw.randint(1, 3),
            "moe_intermediate_size": draw.randint(3, 20),
            "decoder_sparse_step": draw.choice((1, 2)),
            "mlp_only_layers": [layer for layer in layers if draw.random() < 0.3],
        }
    return content


@pytest.mark.parametrize("name", PUBLISHED)
def test_counts_of_real_models_are_those_of_transformers(name):
    content = published_config(name)
    ours = count_parameters(ModelSpec.from_config(content))
    assert ours.total == count_theirs(content["model_type"], their_config(content))
    assert ours.total == sum(ours.by_component.values())
    assert ours.activated == sum(ours.met_by_component.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_counts_of_random_models_are_those_of_transformers(family):
    for seed in range(25):
        content = random_content(family, seed)
        config = their_config(content)
        expected = count_theirs(family, config)
        assert count_parameters(ModelSpec.from_config(content)).total == expected, content
        written = config.to_dict() | {"model_type": family}
        assert count_parameters(ModelSpec.from_config(written)).total == expected, written


def test_deepseek_v3_to_the_last_parameter():
    parameters = count_parameters(spec_of("deepseek-v3"))
    assert parameters.total == 671_026_419_200
    assert parameters.activated == 36_625_618_432
    assert parameters.activated_with_embedding == 37_552_297_472
    assert parameters.mtp == 11_610_068_224


def test_the_mtp_module_is_a_block_with_a_projection_and_three_norms():
    spec = spec_of("tiny")
    one_layer_more = replace(spec, n_moe_layers=spec.n_moe_layers + 1)
    block = count_parameters(one_layer_more).total - count_parameters(spec).total
    d = spec.hidden_size
    assert count_parameters(spec).mtp == block + 2 * d * d + 3 * d
    assert count_parameters(replace(spec, n_mtp_modules=3)).mtp == 3 * count_parameters(spec).mtp
    assert count_parameters(replace(spec, n_mtp_modules=0)).mtp == 0


def test_tied_embeddings_are_stored_once_and_still_multiply():
    spec = spec_of("llama-3.2-1b")
    assert spec.tied_embeddings
    untied = replace(spec, tied_embeddings=False)
    table = spec.vocab_size * spec.hidden_size
    tied, apart = count_parameters(spec), count_parameters(untied)
    assert apart.total - tied.total == table
    assert tied.activated == tied.activated_with_embedding == apart.activated
    assert forward_flops_per_token(spec, 7) == forward_flops_per_token(untied, 7)


class MatrixProducts(TorchDispatchMode):
    """Collects the operations that the FLOP counter does not know, to see that no matrix product is among them."""

    def __init__(self):
        super().__init__()
        self.uncounted = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function._overloadpacket not in flop_registry:
            self.uncounted.add(str(function._overloadpacket))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "kimi_k2"])
def test_flops_are_those_of_the_counter(family):
    n_tokens = 11
    for seed in range(4):
        content = random_content(family, seed)
        extra = {"attn_implementation": "eager", "experts_implementation": "eager"}
        model = CLASSES[family][1](their_config(content, **extra))
        token_ids = torch.randint(0, content["vocab_size"], (1, n_tokens))
        with MatrixProducts() as products, FlopCounterMode(display=False) as counter:
            logits = model(token_ids, use_cache=False).logits
            forward = counter.get_total_flops()
            logits.square().mean().backward()
        suspicious = [
            name
            for name in products.uncounted
            if "mm" in name or "attention" in name or "linear" in name
        ]
        assert suspicious == [], "a matrix product went uncounted"
        spec = ModelSpec.from_config(content)
        expected = n_tokens * forward_flops_per_token(spec, n_tokens, causal=False)
        assert forward == expected, content
        expected = n_tokens * training_flops_per_token(spec, n_tokens, causal=False)
        assert counter.get_total_flops() == expected, content


def test_causal_attention_is_the_average_over_positions():
    spec, length = spec_of("tiny"), 9
    mean = (
        sum(forward_flops_per_token(spec, seen, causal=False) for seen in range(1, length + 1))
        / length
    )
    assert forward_flops_per_token(spec, length) == mean
    assert training_flops_per_token(spec, length) == 3 * forward_flops_per_token(spec, length)
    assert forward_flops_per_token(spec, 1) == forward_flops_per_token(spec, 1, causal=False)


@pytest.mark.parametrize(
    ("name", "gflop"),
    [("deepseek-v3", 250.457), ("deepseek-v2", 155.312), ("llama-3.1-405b", 2473.23)],
)
def test_training_flops_at_a_context_of_4096(name, gflop):
    assert training_flops_per_token(spec_of(name), 4096) / 1e9 == pytest.approx(gflop, abs=0.005)


@pytest.mark.parametrize(
    ("name", "n_bytes"),
    [("deepseek-v3", 70_272), ("qwen2.5-72b", 327_680), ("llama-3.1-405b", 516_096)],
)
def test_cache_bytes_are_exact(name, n_bytes):
    assert kv_cache_bytes_per_token(spec_of(name)) == n_bytes
    assert kv_cache_bytes_per_token(spec_of(name), 0.75) == n_bytes * 0.375


def test_weights_by_precision():
    v3 = spec_of("deepseek-v3")
    total = count_parameters(v3).total
    assert weight_bytes(v3, "fp32") == 2 * weight_bytes(v3, "bf16") == 4 * total
    assert total < weight_bytes(v3, "fp8") < 1.01 * total
    released = weight_bytes(v3, "fp8", with_mtp=True)
    assert released / 1e9 == pytest.approx(688.6, abs=0.1)
    assert weight_bytes(v3, "bf16", with_mtp=True) == 2 * 684_489_845_504
    no_mtp = replace(v3, n_mtp_modules=0)
    assert weight_bytes(no_mtp, "fp8", with_mtp=True) == weight_bytes(v3, "fp8")
    in_fp8, in_bf16 = 680_571_043_840, 3_918_801_664  # of the released files, router biases as BF16
    assert released == in_fp8 + 4 * in_fp8 / 128**2 + 2 * in_bf16


def test_one_layer_of_experts_makes_the_prediction_module_one():
    spec = spec_of("deepseek-v3")
    few = replace(spec, n_dense_layers=60, n_moe_layers=1)
    assert count_parameters(few).mtp == count_parameters(spec).mtp


def test_plain_attention_has_no_vectors():
    assert GroupedQueryAttention(n_heads=4, n_kv_heads=2, head_dim=8).vector_entries(32) == 0


def test_experts_without_groups_are_one_group():
    content = published_config("tiny") | {"n_routed_experts": 3}
    del content["n_group"], content["topk_group"]
    assert ModelSpec.from_config(content).experts.n_routed == 3


def test_training_state_is_bytes_per_parameter():
    tiny = spec_of("tiny")
    total = count_parameters(tiny).total
    sums = {
        recipe: sum(training_state_bytes(tiny, recipe).values()) / total
        for recipe in TRAINING_RECIPES
    }
    assert sums == {"fp32": 16, "bf16 mixed": 16, "deepseek-v3": 13}
    assert training_state_bytes(tiny) == {
        "weights": total,
        "gradients": 4 * total,
        "moments": 4 * total,
        "master weights": 4 * total,
    }
    for recipe in TRAINING_RECIPES:
        assert training_state_bytes(tiny, recipe).keys() == training_state_bytes(tiny).keys()
    assert training_state_bytes(tiny, "fp32")["moments"] == 8 * total
    assert training_state_bytes(tiny, "bf16 mixed")["gradients"] == 2 * total


def test_the_roofline_is_the_lower_of_two_ceilings():
    machine = Machine("toy", peak_flops=100.0, bandwidth=10.0)
    assert machine.ridge() == 10
    assert machine.attainable_flops(5) == 50
    assert machine.attainable_flops(50) == 100
    assert machine.seconds(flops=1000, n_bytes=10) == 10
    assert machine.seconds(flops=10, n_bytes=1000) == 100


def test_no_experts_no_difference_between_stored_and_met():
    content = random_content("deepseek_v3", 1) | {
        "num_hidden_layers": 2,
        "first_k_dense_replace": 2,
    }
    spec = ModelSpec.from_config(content)
    assert spec.experts == NO_EXPERTS
    counted = count_parameters(spec)
    assert counted.activated_with_embedding == counted.total
    assert counted.activated == counted.activated_with_embedding - (
        0 if spec.tied_embeddings else spec.vocab_size * spec.hidden_size
    )


TINY = published_config("tiny")
LLAMA = published_config("llama-3.1-8b")
QWEN_MOE = published_config("qwen3-30b-a3b")
MIXTRAL = published_config("mixtral-8x7b")


@pytest.mark.parametrize(
    ("content", "field", "value"),
    [
        (TINY, "model_type", "gpt2"),
        (TINY, "model_type", None),
        (TINY, "model_type", ["deepseek_v3"]),
        (TINY, "hidden_size", "8"),
        (TINY, "hidden_size", 8.0),
        (TINY, "hidden_size", True),
        (TINY, "hidden_size", math.inf),
        (TINY, "hidden_size", math.nan),
        (TINY, "hidden_size", -8),
        (TINY, "hidden_size", 0),
        (TINY, "hidden_size", 10**10),
        (TINY, "vocab_size", None),
        (TINY, "num_hidden_layers", 0),
        (TINY, "first_k_dense_replace", 4),
        (TINY, "first_k_dense_replace", -1),
        (TINY, "num_experts_per_tok", 9),
        (TINY, "num_experts_per_tok", 0),
        (TINY, "n_routed_experts", 0),
        (TINY, "n_shared_experts", -1),
        (TINY, "n_group", 3),
        (TINY, "topk_group", 9),
        (TINY, "kv_lora_rank", 0),
        (TINY, "q_lora_rank", 0),
        (TINY, "q_lora_rank", "none"),
        (TINY, "tie_word_embeddings", "no"),
        (TINY, "num_nextn_predict_layers", -1),
        (TINY, "moe_layer_freq", 0),
        (TINY, "moe_layer_freq", 2),
        (TINY, "qk_rope_head_dim", 3),
        (TINY, "n_group", 8),
        (QWEN_MOE, "mlp_only_layers", False),
        (QWEN_MOE, "mlp_only_layers", [True]),
        (QWEN_MOE, "use_sliding_window", 0),
        (QWEN_MOE, "num_local_experts", 64),
        (LLAMA, "num_key_value_heads", 5),
        (LLAMA, "num_key_value_heads", 64),
        (LLAMA, "num_attention_heads", 24),
        (LLAMA, "head_dim", 0),
        (LLAMA, "mlp_bias", 1),
        (QWEN_MOE, "num_experts", 4),
        (QWEN_MOE, "decoder_sparse_step", 0),
        (QWEN_MOE, "mlp_only_layers", 3),
        (QWEN_MOE, "mlp_only_layers", [99]),
        (QWEN_MOE, "use_sliding_window", True),
        (MIXTRAL, "sliding_window", 4096),
        (MIXTRAL, "num_local_experts", 1),
    ],
)
def test_an_impossible_value_is_refused_by_name(content, field, value):
    named = {"num_experts": "num_experts_per_tok", "num_local_experts": "num_experts_per_tok"}.get(
        field, field
    )
    named = "num_experts" if (field, value) == ("num_local_experts", 64) else named
    named = (
        "num_key_value_heads" if (field, value) == ("num_attention_heads", 24) and 24 % 8 else named
    )
    with pytest.raises(ValueError, match=rf"^{named}: expected "):
        ModelSpec.from_config(content | {field: value})


@pytest.mark.parametrize(
    "name", ["tiny", "deepseek-v2-lite", "llama-3.1-8b", "qwen3-30b-a3b", "mixtral-8x7b"]
)
def test_every_field_that_counting_needs_is_missed_by_name(name):
    content = published_config(name)
    needed = [
        *(
            "model_type",
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
        ),
        *("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"),
        *(
            "first_k_dense_replace",
            "n_routed_experts",
            "num_experts_per_tok",
            "moe_intermediate_size",
        ),
        *("num_experts", "num_local_experts", "n_shared_experts"),
        *(("num_key_value_heads",) if content["model_type"] in ("mixtral", "qwen3_moe") else ()),
    ]
    for field in needed:
        if field in content:
            shorter = {key: value for key, value in content.items() if key != field}
            with pytest.raises(ValueError, match=f"^{field}: missing"):
                ModelSpec.from_config(shorter)


@pytest.mark.parametrize("content", [None, [], "model", 7])
def test_what_is_no_configuration_is_refused(content):
    with pytest.raises(ValueError, match="^model_type: expected the content of a config"):
        ModelSpec.from_config(content)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda spec: forward_flops_per_token(spec, 0), "context_length"),
        (lambda spec: forward_flops_per_token(spec, 2.5), "context_length"),
        (lambda spec: training_flops_per_token(spec, "4096"), "context_length"),
        (lambda spec: forward_flops_per_token(spec, 8, causal="yes"), "causal"),
        (lambda spec: kv_cache_bytes_per_token(spec, 0), "bytes_per_element"),
        (lambda spec: kv_cache_bytes_per_token(spec, math.nan), "bytes_per_element"),
        (lambda spec: kv_cache_bytes_per_token(spec, -1), "bytes_per_element"),
        (lambda spec: kv_cache_bytes_per_token(spec, 10**400), "bytes_per_element"),
        (lambda spec: kv_cache_bytes_per_token(spec, 1e308), "bytes_per_element"),
        (lambda spec: weight_bytes(spec, "bf16", with_mtp=1), "with_mtp"),
        (lambda spec: Machine("x", 10**400, 1), "peak_flops"),
        (lambda spec: Machine("x", 1, 1).seconds(-1, 1), "flops"),
        (lambda spec: Machine("x", 1, 1).seconds(1, math.nan), "n_bytes"),
        (lambda spec: weight_bytes(spec, "fp4"), "precision"),
        (lambda spec: training_state_bytes(spec, "sgd"), "recipe"),
        (lambda spec: Machine("x", 0, 1), "peak_flops"),
        (lambda spec: Machine("x", 1, math.inf), "bandwidth"),
        (lambda spec: Machine("x", 1, 1).attainable_flops(-1), "intensity"),
    ],
)
def test_bad_arguments_are_refused_by_name(call, named):
    with pytest.raises(ValueError, match=f"^{named}: expected "):
        call(spec_of("tiny"))


def test_the_bill_says_what_the_functions_say():
    spec = spec_of("deepseek-v3")
    result = bill(spec, 1024)
    assert json.loads(json.dumps(result)) == result
    assert result["forward_flops_per_token"] == forward_flops_per_token(spec, 1024)
    assert result["training_flops_per_token"] == training_flops_per_token(spec, 1024)
    assert result["kv_cache_bytes_per_token"] == {"bf16": 70_272, "fp8": 35_136}
    assert result["weight_bytes"] == {
        name: weight_bytes(spec, name) for name in ("fp32", "bf16", "fp8")
    }
    counted = count_parameters(spec)
    for name, value in result["parameters"].items():
        assert value == getattr(counted, name)
    table = format_bill(result)
    for printed in (
        "671,026,419,200",
        "36,625,618,432",
        "11,610,068,224",
        "70.272",
        "1,024",
        "673.151",
    ):
        assert printed in table


@pytest.mark.parametrize("name", ["deepseek-v3", "llama-3.1-8b"])
def test_the_table_says_what_the_bill_says(name):
    """Every line, in its order: what it is about and its numbers, to the thousandth; no line where all is 0."""
    said = bill(spec_of(name), 1024)
    parameters = said["parameters"]
    stored, met = parameters["by_component"], parameters["met_by_component"]
    expected = [
        "parameters stored met by a token",
        *(f"{c.replace('_', ' ')} {stored[c]:,} {met[c]:,}" for c in stored if stored[c]),
        f"total {parameters['total']:,} {parameters['activated']:,}",
        f"with the embedding {parameters['activated_with_embedding']:,}",
        *([f"MTP module, on top {parameters['mtp']:,}"] if parameters["mtp"] else []),
        "GFLOP per token, causal context of 1,024",
        f"forward {said['forward_flops_per_token'] / 10**9:,.3f}",
        f"training {said['training_flops_per_token'] / 10**9:,.3f}",
        "key-value cache per token, KB of 1,000 bytes",
        *(f"{kind} {n / 1000:,.3f}" for kind, n in said["kv_cache_bytes_per_token"].items()),
        "weights of the main model, GB of 10^9 bytes",
        *(f"{kind} {n / 10**9:,.3f}" for kind, n in said["weight_bytes"].items()),
    ]
    lines = format_bill(said).splitlines()
    assert [" ".join(line.split()) for line in lines] == expected
    assert not any(line.endswith(" ") for line in lines)


def test_a_model_without_mtp_has_no_line_for_it():
    assert "MTP" not in format_bill(bill(spec_of("llama-3.1-8b")))


def test_the_mtp_module_of_a_dense_model_has_a_dense_block():
    content = published_config("tiny") | {"first_k_dense_replace": 3}
    spec = ModelSpec.from_config(content)
    d = spec.hidden_size
    block = spec.attention.matrix_entries(d) + spec.attention.vector_entries(d) + 3 * d * 16 + 2 * d
    assert count_parameters(spec).mtp == block + 2 * d * d + 3 * d


def test_mtp_is_read_where_the_family_has_it():
    v2 = published_config("deepseek-v2") | {"num_nextn_predict_layers": 1}
    assert count_parameters(ModelSpec.from_config(v2)).mtp == 0
    v3 = published_config("deepseek-v3")
    del v3["num_nextn_predict_layers"]
    assert count_parameters(ModelSpec.from_config(v3)).mtp == 0


def test_a_key_value_head_for_each_head_where_llama_names_none():
    content = published_config("llama-3.1-8b")
    del content["num_key_value_heads"]
    assert ModelSpec.from_config(content).attention.n_kv_heads == 32
    qwen = published_config("qwen3-8b")
    del qwen["head_dim"]
    with pytest.raises(ValueError, match="^head_dim: missing"):
        ModelSpec.from_config(qwen)


def test_groups_count_only_where_routing_uses_them():
    lite = published_config("deepseek-v2-lite") | {
        "n_group": 8,
        "topk_group": 1,
        "num_experts_per_tok": 10,
    }
    assert ModelSpec.from_config(lite).experts.n_active == 10


def test_a_very_deep_model_is_counted_at_once():
    spec = ModelSpec.from_config(published_config("tiny") | {"num_hidden_layers": 10**9})
    assert spec.n_moe_layers == 10**9 - 1
    deep = published_config("qwen3-30b-a3b") | {
        "num_hidden_layers": 10**9,
        "decoder_sparse_step": 2,
        "mlp_only_layers": list(range(100_000)),
    }
    assert ModelSpec.from_config(deep).n_moe_layers == 10**9 // 2 - 50_000


def test_a_dense_attention_twin_keeps_everything_but_the_cache():
    v3 = spec_of("deepseek-v3")
    ordinary = replace(v3, attention=GroupedQueryAttention(128, 128, 128))
    assert kv_cache_bytes_per_token(ordinary) == 61 * 2 * 128 * 128 * 2


@pytest.mark.parametrize(
    "function",
    [
        count_parameters,
        lambda spec: forward_flops_per_token(spec, 1),
        kv_cache_bytes_per_token,
        weight_bytes,
    ],
)
def test_what_is_no_spec_is_refused(function):
    with pytest.raises(ValueError, match="^spec: expected"):
        function({"model_type": "llama"})


def test_what_is_counted_where_nothing_is_said():
    config = dict(published_config("qwen3-30b-a3b"))
    spec = ModelSpec.from_config(config)
    assert weight_bytes(spec) == weight_bytes(spec, "bf16")
    assert bill(spec) == bill(spec, 4096) != bill(spec, 4097)
    assert bill(spec)["model_type"] == "qwen3_moe"
    config.pop("decoder_sparse_step", None)
    assert ModelSpec.from_config(config) == spec


def test_a_dense_layer_that_is_not_there_is_refused():
    config = dict(published_config("qwen3-30b-a3b"))
    config["mlp_only_layers"] = [config["num_hidden_layers"]]
    with pytest.raises(ValueError, match="^mlp_only_layers: .*the last layer"):
        ModelSpec.from_config(config)


def test_a_machine_without_a_name_is_refused():
    with pytest.raises(ValueError, match="^name: expected"):
        Machine(None, 1.0, 1.0)


@pytest.mark.parametrize("name", ["qwen2.5-72b", "mixtral-8x7b"])
def test_a_bias_that_the_family_settles_is_not_asked_of_the_file(name):
    config = published_config(name)
    assert ModelSpec.from_config({**config, "attention_bias": True}) == ModelSpec.from_config(
        config
    )


def test_a_model_may_have_no_shared_expert():
    config = published_config("deepseek-v3")
    without = count_parameters(ModelSpec.from_config({**config, "n_shared_experts": 0}))
    assert without.total < count_parameters(ModelSpec.from_config(config)).total
