"""The whole model against transformers, against itself by other ways of writing, and across a file."""

import json
import math
import os
import pickle
import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

os.environ["HF_HUB_OFFLINE"] = "1"
import transformers
from safetensors.torch import load_file, save_file

from deepseek_explained import tiny_deepseek as tiny
from deepseek_explained.budget import ModelSpec, count_parameters
from deepseek_explained.config import DeepSeekConfig, published_config
from deepseek_explained.moe import MixtureOfExperts
from deepseek_explained.mtp import chi_square
from deepseek_explained.tiny_deepseek import DeepSeek, count, generate, tensors_of

torch.set_num_threads(1)  # thousands of small products
TINY = DeepSeekConfig.from_dict(published_config("tiny"))


def wide(module, seed, std=0.15):
    """Weights wide enough that a mistake anywhere shows; norms around one, routers' biases not zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in tensors_of(module).items():
            if "inv_freq" not in name:
                noise = torch.randn(tensor.shape, generator=generator)
                tensor.copy_((1.0 if "norm" in name else 0.0) + std * noise)
    return module.eval().requires_grad_(False)


# Against transformers


def random_settings(seed, **changes):
    """What a transformers configuration is made of: small sizes, unlike each other, and every choice there is."""
    choose = random.Random(seed)
    groups, size = choose.choice(((1, 4), (1, 9), (2, 4), (4, 3), (3, 2), (8, 4)))
    open_groups = choose.randint(1, groups)
    layers = choose.randint(1, 4)
    heads = choose.randint(1, 5)
    yarn = {
        "rope_type": "yarn",
        "factor": choose.choice((4.0, 40.0)),
        "original_max_position_embeddings": choose.choice((16, 64)),
        "beta_fast": 32.0,
        "beta_slow": 1.0,
        "mscale": choose.choice((0.707, 1.0)),
        "mscale_all_dim": choose.choice((0.0, 0.707, 1.0)),
    }
    return {
        "vocab_size": choose.randint(5, 60),
        "hidden_size": 8 * choose.randint(1, 6),
        "intermediate_size": choose.randint(5, 60),
        "moe_intermediate_size": 4 * choose.randint(1, 5),
        "num_hidden_layers": layers,
        "first_k_dense_replace": choose.randint(0, layers),
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "q_lora_rank": None if seed % 2 else choose.randint(2, 20),
        "kv_lora_rank": choose.randint(2, 24),
        "qk_nope_head_dim": choose.randint(1, 12),
        "qk_rope_head_dim": 2 * choose.randint(1, 6),
        "v_head_dim": choose.randint(1, 12),
        "n_routed_experts": groups * size,
        "n_group": groups,
        "topk_group": open_groups,
        "num_experts_per_tok": choose.randint(1, min(6, open_groups * size)),
        "n_shared_experts": choose.randint(0, 3),
        "norm_topk_prob": choose.random() < 0.6,
        "routed_scaling_factor": choose.choice((1.0, 2.5)),
        "rms_norm_eps": choose.choice((1e-6, 1e-3)),
        "rope_parameters": yarn | {"rope_theta": 10000.0}
        if seed % 3 == 0
        else {"rope_type": "default", "rope_theta": choose.choice((100.0, 10000.0))},
        "tie_word_embeddings": seed % 4 == 1,
        "attention_bias": choose.random() < 0.3,
        "num_nextn_predict_layers": seed % 2,
        "max_position_embeddings": 4096,
        "attn_implementation": "eager",
    } | changes


def their_model(seed, **changes):
    config = transformers.DeepseekV3Config(**random_settings(seed, **changes))
    return wide(transformers.DeepseekV3ForCausalLM(config), seed)


def choices_of(ours, theirs, token_ids):
    """For each token, the experts that the two models chose, layer after layer, as sorted lists."""
    lists = ([], [])
    hooks = [
        layer.mlp.router.register_forward_hook(lambda _, __, out: lists[0].append(out[1]))
        for layer in ours.layers
        if isinstance(layer.mlp, MixtureOfExperts)
    ]
    hooks += [
        layer.mlp.gate.register_forward_hook(lambda _, __, out: lists[1].append(out[2]))
        for layer in theirs.model.layers
        if hasattr(layer.mlp, "gate")
    ]
    outputs = ours(token_ids), theirs(token_ids).logits
    for hook in hooks:
        hook.remove()
    chosen = [[c.sort(-1).values.view(*token_ids.shape, -1) for c in one] for one in lists]
    return outputs, chosen


@pytest.mark.parametrize("seed", range(60))
def test_logits_are_those_of_transformers(seed):
    theirs = their_model(seed)
    ours = DeepSeek.from_transformers(theirs)
    generator = torch.Generator().manual_seed(seed)
    token_ids = torch.randint(theirs.config.vocab_size, (3, 40), generator=generator)
    (mine, other), (my_choices, their_choices) = choices_of(ours, theirs, token_ids)
    assert mine.shape == other.shape
    error = (mine - other).norm(dim=-1) / other.norm(dim=-1)  # (batch, seq)
    assert error.median() < 2e-5
    # A tie between two experts may fall either way; it changes its token and those that attend to it.
    same = torch.ones(token_ids.shape, dtype=torch.bool)
    for a, b in zip(my_choices, their_choices, strict=True):
        same &= (a == b).all(-1)
    undisturbed = same.cumprod(dim=1).bool()
    assert error[undisturbed].max() < 2e-4
    assert (~same).float().mean() < 0.02


def test_the_random_configurations_have_every_choice_in_them():
    settings = [random_settings(seed) for seed in range(60)]
    for name, least in (("q_lora_rank", 2), ("tie_word_embeddings", 2), ("norm_topk_prob", 2)):
        assert len({setting[name] for setting in settings}) >= least
    assert {setting["n_shared_experts"] for setting in settings} == {0, 1, 2, 3}
    assert {setting["rope_parameters"]["rope_type"] for setting in settings} == {"yarn", "default"}
    assert any(0 < s["first_k_dense_replace"] < s["num_hidden_layers"] for s in settings)
    assert any(s["topk_group"] < s["n_group"] for s in settings)


def test_training_gradients_are_those_of_transformers():
    theirs = their_model(2, tie_word_embeddings=False)
    ours = DeepSeek.from_transformers(theirs)
    token_ids = torch.randint(theirs.config.vocab_size, (2, 20))
    gradients = []
    for model, logits in ((ours, ours), (theirs, lambda ids: theirs(ids).logits)):
        model.requires_grad_(True)
        F.cross_entropy(
            logits(token_ids)[:, :-1].flatten(0, 1), token_ids[:, 1:].flatten()
        ).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters()})
    for name, gradient in gradients[0].items():
        if not name.startswith("mtp."):
            name = name if name.startswith("lm_head") else f"model.{name}"
            other = gradients[1][name.replace(".router.", ".gate.")]
            torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-5 * other.abs().max())


def test_the_weights_are_copies_in_their_precision_and_mode():
    theirs = their_model(4).to(torch.bfloat16)
    ours = DeepSeek.from_transformers(theirs)
    assert ours.lm_head.weight.dtype == torch.bfloat16
    assert not ours.training
    kinds = {
        tensor.dtype for name, tensor in tensors_of(ours).items() if name.endswith("router.bias")
    }
    assert kinds == {torch.float32}  # in bfloat16 small steps would be lost
    for layer in tiny.routed_layers(ours):
        before = layer.router.bias.clone()
        layer.update_bias(1e-5, torch.arange(len(before)).float())
        assert ((layer.router.bias - before).abs() > 0).any()
    before = theirs.lm_head.weight.clone()
    with torch.no_grad():
        ours.lm_head.weight.add_(1)
    assert torch.equal(before, theirs.lm_head.weight)
    assert DeepSeek.from_transformers(their_model(4).train()).training


def test_tied_embeddings_stay_tied():
    ours = DeepSeek.from_transformers(their_model(1))
    assert ours.lm_head.weight is ours.embed_tokens.weight


@pytest.mark.parametrize(
    "change, name",
    [
        ({"rope_interleave": False}, "rope_interleave"),
        ({"hidden_act": "gelu"}, "hidden_act"),
        ({"attention_dropout": 0.1}, "attention_dropout"),
        ({"num_key_value_heads": 1, "num_attention_heads": 4}, "num_key_value_heads"),
        ({"num_nextn_predict_layers": 2}, "num_nextn_predict_layers"),
        (
            {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
            "rope_parameters.type",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 1e4,
                    "factor": 2.0,
                    "original_max_position_embeddings": 64,
                    "attention_factor": 2.0,
                }
            },
            "rope_parameters.attention_factor",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 1e4,
                    "factor": 2.0,
                    "original_max_position_embeddings": 64,
                    "truncate": False,
                }
            },
            "truncate",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "yarn",
                    "rope_theta": 1e4,
                    "factor": 4.0,
                    "original_max_position_embeddings": 16,
                    "mscale_all_dim": 0.7,
                }
            },
            "rope_parameters.mscale",
        ),
        (
            {
                "rope_parameters": {
                    "rope_type": "default",
                    "rope_theta": 1e4,
                    "partial_rotary_factor": 0.5,
                }
            },
            "rope_parameters.partial_rotary_factor",
        ),
        ({"scoring_func": "softmax"}, "scoring_func"),
        ({"topk_method": "greedy"}, "topk_method"),
    ],
)
def test_unsupported_settings_are_refused_by_name(change, name):
    with torch.device("meta"):
        theirs = transformers.DeepseekV3ForCausalLM(
            transformers.DeepseekV3Config(**random_settings(1, **change))
        )
    with pytest.raises(ValueError, match=f"^{name}: "):
        DeepSeek.from_transformers(theirs)


@pytest.mark.parametrize(
    ("name", "value"),
    [("qk_head_dim", 99), ("head_dim", 99), ("num_key_value_heads", 1), ("rope_interleave", False)],
)
def test_settings_that_do_not_fit_each_other_are_refused(name, value):
    content = published_config("tiny")
    assert tiny.read_settings(content) == DeepSeekConfig.from_dict(content)
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        tiny.read_settings(content | {name: value})


def test_other_models_are_refused():
    with pytest.raises(ValueError, match="model: expected a transformers.DeepseekV3ForCausalLM"):
        DeepSeek.from_transformers(torch.nn.Linear(2, 2))
    theirs = their_model(1)
    with pytest.raises(ValueError, match="model: expected .*got DeepseekV3Model"):
        DeepSeek.from_transformers(theirs.model)

    class Other(transformers.DeepseekV3ForCausalLM):
        """Could do anything in its forward."""

    with pytest.raises(ValueError, match="model: expected .*got Other"):
        DeepSeek.from_transformers(Other(theirs.config))
    for name, value in (("head_dim", 6), ("quantization_config", {"bits": 4})):
        content = random_settings(1) | {"model_type": "deepseek_v3", name: value}
        with pytest.raises(ValueError, match=f"^{name}: "):
            tiny.read_settings(content)
    theirs.model.layers[0].input_layernorm.bias = torch.nn.Parameter(torch.zeros(3))
    with pytest.raises(ValueError, match="extra layers.0.input_layernorm.bias"):
        DeepSeek.from_transformers(theirs)


# The true shape


def test_the_same_class_at_deepseek_v3s_size():
    content = published_config("deepseek-v3")
    with torch.device("meta"):
        model = DeepSeek(DeepSeekConfig.from_dict(content))
    parameters = count_parameters(ModelSpec.from_config(content))
    module = count(model.mtp)
    assert count(model) - module == parameters.total == 671_026_419_200
    assert module == parameters.mtp == 11_610_068_224
    with torch.device("meta"):
        assert (
            count(DeepSeek(replace(model.config, num_nextn_predict_layers=0))) == parameters.total
        )


def test_a_model_of_any_size_can_be_taken_over_on_the_meta_device():
    with torch.device("meta"):
        theirs = transformers.DeepseekV3ForCausalLM(transformers.DeepseekV3Config())
    ours = DeepSeek.from_transformers(theirs)
    assert ours.lm_head.weight.is_meta and ours.mtp.eh_proj.weight.is_meta
    assert count(ours) == 671_026_419_200 + 11_610_068_224


@pytest.mark.parametrize("name", ["tiny", "kimi-k2"])
def test_the_budget_counts_what_is_built(name):
    content = published_config(name)
    with torch.device("meta"):
        model = DeepSeek(DeepSeekConfig.from_dict(content))
    parameters = count_parameters(ModelSpec.from_config(content))
    assert count(model) == parameters.total + parameters.mtp


def test_more_modules_than_one_and_other_configurations_are_refused():
    with pytest.raises(ValueError, match="num_nextn_predict_layers: expected 0 or 1, got 2"):
        DeepSeek(replace(TINY, num_nextn_predict_layers=2))
    with pytest.raises(ValueError, match="config: expected a DeepSeekConfig"):
        DeepSeek(published_config("tiny"))


# Writing


def small(seed, **changes):
    return wide(DeepSeek(replace(TINY, **changes)).double(), seed, std=0.4)


@pytest.mark.parametrize("seed", range(6))
def test_all_ways_of_writing_agree_when_the_likeliest_token_is_taken(seed):
    model = small(seed)
    prompt = torch.randint(16, (3, 1 + seed))
    expected = prompt
    for _ in range(20):
        expected = torch.cat((expected, model(expected)[:, -1:].argmax(-1)), dim=1)
    for choices in (
        {},
        {"use_cache": False},
        {"speculative": True},
        {"speculative": True, "n_draft": 3},
    ):
        assert torch.equal(model.generate(prompt, 20, **choices), expected), choices


@pytest.mark.parametrize("choices", [{}, {"use_cache": False}])
def test_temperature_draws_from_the_softened_distribution(choices):
    model = small(0)
    prompt = torch.tensor([[3, 1, 4]]).expand(4000, -1)
    generator = torch.Generator().manual_seed(0)
    drawn = model.generate(prompt, 1, temperature=0.7, generator=generator, **choices)[:, -1]
    expected = (model(prompt[:1])[0, -1] / 0.7).softmax(-1)
    shares = torch.bincount(drawn, minlength=16) / 4000
    assert (shares - expected).abs().max() < 5 * math.sqrt(0.25 / 4000)
    again = torch.Generator().manual_seed(0)
    assert torch.equal(
        model.generate(prompt, 1, temperature=0.7, generator=again, **choices)[:, -1], drawn
    )


def test_a_stop_token_ends_early_and_only_then():
    model = small(1)
    prompt = torch.tensor([[1, 2]])
    full = model.generate(prompt, 12)
    assert full.shape == (1, 14)
    stop = full[0, 5].item()
    end = full[0, 2:].tolist().index(stop) + 3
    for choices in ({}, {"use_cache": False}, {"speculative": True}):
        assert model.generate(prompt, 12, stop_token=stop, **choices).tolist() == [
            full[0, :end].tolist()
        ]
    assert torch.equal(model.generate(prompt, 0), prompt)
    assert torch.equal(model.generate(prompt, 0, use_cache=False), prompt)


def test_speculation_draws_from_the_models_own_distribution():
    model = small(3, vocab_size=4)
    prompt = torch.tensor([[1, 3]])
    first = (model(prompt)[0, -1] / 0.8).softmax(-1)
    pairs = torch.cat((prompt.expand(4, -1), torch.arange(4)[:, None]), dim=1)
    second = (model(pairs)[:, -1] / 0.8).softmax(-1)  # (first token, second token)
    result = generate(
        model,
        prompt.expand(600, -1),
        3,
        temperature=0.8,
        speculative=True,
        generator=torch.Generator().manual_seed(0),
    )
    assert 0 < result.accepted < result.drafted
    drawn = result.token_ids[:, 2] * 4 + result.token_ids[:, 3]
    expected = 600 * (first[:, None] * second).flatten()
    assert chi_square(torch.bincount(drawn, minlength=16), expected) > 1e-3


def test_speculation_reports_its_work():
    model = small(2)
    result = generate(model, torch.tensor([[1, 2]]), 12, speculative=True)
    assert result.passes == 12 - result.accepted
    assert result.drafted >= result.accepted


@pytest.mark.parametrize(
    "token_ids, choices, message",
    [
        ([[16]], {}, "token_ids: expected whole numbers from 0 to 15"),
        ([[-1]], {}, "token_ids: expected whole numbers from 0 to 15"),
        ([[0.5]], {}, "token_ids: expected whole numbers"),
        ([[]], {}, "token_ids: expected"),
        ([1, 2], {}, "token_ids: expected"),
        ([[1]], {"temperature": -1.0}, "temperature: "),
        ([[1]], {"temperature": math.nan}, "temperature: "),
        ([[1]], {"speculative": True, "use_cache": False}, "speculative: expected use_cache True"),
        ([[1]], {"speculative": True, "n_draft": 0}, "n_draft: "),
        ([[1]], {"speculative": "no"}, "speculative: "),
        ([[1]], {"use_cache": None}, "use_cache: "),
        ([[True]], {}, "token_ids: expected whole numbers"),
    ],
)
def test_bad_requests_are_refused_by_name(token_ids, choices, message):
    with pytest.raises(ValueError, match=message):
        small(0).generate(torch.tensor(token_ids), 3, **choices)


def test_what_cannot_be_is_refused_by_name():
    with pytest.raises(ValueError, match="max_new_tokens: "):
        small(0).generate(torch.tensor([[1]]), -1)
    with pytest.raises(ValueError, match="speculative: expected num_nextn_predict_layers 1, got 0"):
        small(0, num_nextn_predict_layers=0).generate(torch.tensor([[1]]), 3, speculative=True)
    with pytest.raises(ValueError, match="token_ids: expected whole numbers"):
        small(0)(torch.zeros(1, 3))
    with pytest.raises(ValueError, match="token_ids: expected whole numbers"):
        small(0)(torch.tensor([1, 2]))


def test_a_model_taken_over_can_speculate_without_changing_its_text():
    ours = DeepSeek.from_transformers(their_model(7, num_nextn_predict_layers=1))
    prompt = torch.tensor([[1, 2, 3]])
    assert torch.equal(ours.generate(prompt, 15), ours.generate(prompt, 15, speculative=True))


# Keeping


@pytest.mark.parametrize(
    "changes", [{}, {"tie_word_embeddings": True}, {"num_nextn_predict_layers": 0}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_file_gives_back_the_same_model_bit_for_bit(tmp_path, changes, dtype):
    model = wide(DeepSeek(replace(TINY, **changes)), 0).to(dtype)
    model.save(tmp_path / "model.safetensors")
    loaded = DeepSeek.load(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    token_ids = torch.randint(16, (2, 9))
    assert torch.equal(loaded(token_ids), model(token_ids))
    assert (loaded.lm_head.weight is loaded.embed_tokens.weight) == model.config.tie_word_embeddings
    assert tensors_of(loaded).keys() == tensors_of(model).keys()
    assert all(torch.equal(t, tensors_of(model)[name]) for name, t in tensors_of(loaded).items())
    assert all(
        parameter.requires_grad
        for parameter in DeepSeek.load(tmp_path / "model.safetensors").parameters()
    )
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]
    # Tensors that lie as the file has them may be aligned otherwise: sums then differ in the last bit.
    assert all(tensor.data_ptr() % 64 == 0 for tensor in tensors_of(loaded).values())


def test_what_could_not_be_loaded_is_not_saved(tmp_path):
    with pytest.raises(ValueError, match="extra layers.0.self_attn.k_proj"):
        tiny.build("twin").save(tmp_path / "model.safetensors")
    with pytest.raises(ValueError, match="path: expected a file in a folder that exists"):
        small(0).save(tmp_path, overwrite=True)
    with pytest.raises(ValueError, match="path: expected a file in a folder that exists"):
        small(0).save(tmp_path / "none" / "model.safetensors")
    with pytest.raises(ValueError, match="path: expected a safetensors file"):
        DeepSeek.load(tmp_path)
    with pytest.raises(ValueError, match="overwrite: expected true or false"):
        small(0).save(__file__, overwrite="no")
    with torch.device("meta"):
        nothing = DeepSeek(TINY)
    with pytest.raises(NotImplementedError):
        nothing.save(tmp_path / "model.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_yarn_survives_the_file(tmp_path):
    model = DeepSeek.from_transformers(their_model(3))
    assert model.config.rope_scaling is not None
    model.save(tmp_path / "model.safetensors")
    assert DeepSeek.load(tmp_path / "model.safetensors").config == model.config


def test_an_existing_file_is_overwritten_only_if_asked(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("precious")
    with pytest.raises(FileExistsError, match="exists; pass overwrite=True"):
        small(0).save(path)
    assert path.read_text() == "precious"
    small(0).save(path, overwrite=True)
    assert count(DeepSeek.load(path)) == count(small(0))


def spoiled(tmp_path, change):
    """A file whose tensors or header were changed after saving."""
    path = tmp_path / "model.safetensors"
    small(0).save(path, overwrite=True)
    tensors = load_file(path)
    header = {"config": json.dumps(small(0).config.to_dict())}
    change(tensors, header)
    save_file(tensors, path, metadata=header)
    return path


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda tensors, _: tensors.pop("norm.weight"), "missing norm.weight$"),
        (lambda tensors, _: tensors.update(more=torch.zeros(1)), "extra more$"),
        (
            lambda tensors, _: tensors.update({"norm.weight": torch.zeros(9).double()}),
            r"misshapen norm.weight \(9,\) instead of \(8,\)$",
        ),
        (
            lambda tensors, _: tensors.update({"norm.weight": torch.zeros(8, dtype=torch.int64)}),
            "not of torch.float64 norm.weight torch.int64$",
        ),
        (
            lambda tensors, _: tensors.update({"norm.weight": torch.zeros(8, dtype=torch.half)}),
            "not of torch.float64 norm.weight torch.float16$",
        ),
        (
            lambda tensors, _: (tensors.pop("norm.weight"), tensors.update(more=torch.zeros(1))),
            "missing norm.weight; extra more$",
        ),
        (lambda _, header: header.pop("config"), "config: expected one in the header"),
        (lambda _, header: header.update(config="{"), "config: expected one in the header"),
        (lambda _, header: header.update(config="[]"), "model_type: "),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_name(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        DeepSeek.load(spoiled(tmp_path, change))


def test_no_code_is_run_from_a_file(tmp_path):
    class Trap:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "sprung"),))

    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="path: expected a safetensors file"):
        DeepSeek.load(path)
    assert not (tmp_path / "sprung").exists()


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "model.safetensors"
    small(0).save(path)

    def stops(tensors, name, metadata):
        raise KeyboardInterrupt

    monkeypatch.setattr(tiny.safetensors.torch, "save_file", stops)
    with pytest.raises(KeyboardInterrupt):
        small(1).save(path, overwrite=True)
    assert count(DeepSeek.load(path)) == count(small(0))


# The plan of training


def test_the_learning_rate_is_the_reports():
    steps = 14_800  # a step is a billion tokens
    peak = 2.2e-4
    rise = round(tiny.WARMUP * steps)
    assert tiny.learning_rate(0, steps, peak) == pytest.approx(peak / rise)
    assert tiny.learning_rate(rise - 1, steps, peak) == pytest.approx(peak)
    assert tiny.learning_rate(9_999, steps, peak) == peak
    assert tiny.learning_rate(12_150, steps, peak) == pytest.approx((2.2e-4 + 2.2e-5) / 2)
    assert tiny.learning_rate(14_299, steps, peak) == pytest.approx(2.2e-5, rel=1e-3)
    assert tiny.learning_rate(14_301, steps, peak) == pytest.approx(2.2e-5)
    assert tiny.learning_rate(14_632, steps, peak) == pytest.approx(2.2e-5)
    assert tiny.learning_rate(14_634, steps, peak) == pytest.approx(7.3e-6)
    rates = [tiny.learning_rate(step, 300) for step in range(300)]
    assert max(rates) == tiny.PEAK and min(rates) > 0
    falling = rates[round(tiny.WARMUP * 300) :]
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("step, steps, name", [(-1, 10, "step"), (10, 10, "step"), (0, 0, "steps")])
def test_a_step_outside_of_training_is_refused(step, steps, name):
    for plan in (tiny.learning_rate, tiny.bias_step, tiny.second_weight):
        with pytest.raises(ValueError, match=f"^{name}: "):
            plan(step, steps)


def test_the_weights_of_the_losses_and_the_step_of_the_bias_change_where_the_reports_do():
    assert [tiny.second_weight(step, 148) for step in (0, 99, 100, 147)] == [0.3, 0.3, 0.1, 0.1]
    assert [tiny.bias_step(step, 148) for step in (0, 142, 143, 147)] == [0.01, 0.01, 0, 0]


def main_parameters(model):
    return count(model) - (count(model.mtp) if model.mtp is not None else 0)


def active_by_hand(model):
    """Parameters that work on a token, from the modules themselves."""
    idle = 0
    for layer in model.layers:
        if isinstance(layer.mlp, MixtureOfExperts):
            experts = layer.mlp.experts
            share = model.config.num_experts_per_tok / model.config.n_routed_experts
            idle += (experts.gate_up_proj.numel() + experts.down_proj.numel()) * (1 - share)
    return main_parameters(model) - model.embed_tokens.weight.numel() - idle


def test_the_twins_are_equal_in_what_they_are_said_to_be():
    models = {arm: tiny.build(arm) for arm in tiny.ARMS}
    toy = active_by_hand(models["deepseek"])
    assert toy == tiny.active(tiny.TOY)
    for arm in ("dense", "twin", "normed twin"):
        assert abs(active_by_hand(models[arm]) - toy) < 3 * 3 * 128  # a column of each layer
    assert active_by_hand(models["alone"]) == toy
    for arm, model in models.items():
        heads = arm in ("heads", "twin", "normed twin")
        assert tiny.cache_bytes(model) == (2 * 128 * 3 * 4 if heads else 56 * 3 * 4)
        assert (model.mtp is None) == (arm in ("alone", "twin", "normed twin"))
        assert len(tiny.routed_layers(model)) == {"deepseek": 3, "heads": 3, "alone": 2}.get(arm, 0)
        norms = [name for name, _ in model.named_modules() if name.endswith("k_proj.1")]
        assert len(norms) == {"heads": 4, "normed twin": 3}.get(arm, 0)
        for layer in model.layers:
            attention = layer.self_attn
            assert 2 * len(attention.rotary.frequencies) == 8  # of 32 in every head
            width = attention.head_dim if heads else 24 + 8
            assert width == 32
    with pytest.raises(ValueError, match="arm: expected one of deepseek, "):
        tiny.build("other")


@pytest.mark.parametrize("arm", list(tiny.ARMS))
def test_every_arm_trains_and_writes_the_same_with_and_without_a_cache(arm):
    torch.manual_seed(0)
    model = tiny.build(arm)
    before = [parameter.clone() for parameter in model.parameters()]
    record = tiny.train(model, seed=0, steps=2)
    moved = [not torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True)]
    assert sum(moved) >= 0.9 * len(moved)  # an expert that nobody chose may stay
    assert len(record["losses"]) == 2 and record["steps"] == [2] and record["bits"][0] < 9
    model.double()
    prompt = torch.tensor([list(b"def ")])
    expected = model.generate(prompt, 8, use_cache=False)
    assert torch.equal(model.generate(prompt, 8), expected)
    if model.mtp is not None:
        assert torch.equal(model.generate(prompt, 8, speculative=True), expected)


def test_one_seed_one_curve_to_the_last_digit():
    first, second, other = (tiny.train_arm("deepseek", seed, 4)[0] for seed in (3, 3, 4))
    assert first["losses"] == second["losses"] and first["bits"] == second["bits"]
    assert first["losses"] != other["losses"]


def test_watching_and_measuring_do_not_change_a_training(capsys):
    lines = []
    torch.manual_seed(5)
    watched = tiny.train(
        tiny.build("deepseek"),
        5,
        3,
        measure_every=1,
        watch=lambda step, line: lines.append((step, line)),
    )
    alone, _ = tiny.train_arm("deepseek", 5, 3)
    assert watched["losses"] == alone["losses"]
    assert watched["steps"] == [1, 2, 3] and watched["bits"][-1] == alone["bits"][-1]
    assert watched["seconds_so_far"] == sorted(watched["seconds_so_far"])
    assert [step for step, _ in lines] == [0, 1, 2, 3]
    for part in ("3/3", "##########", "bits/byte", "tokens/s", "busiest"):
        assert part in lines[-1][1]
    assert capsys.readouterr().out == ""


def test_the_line_of_progress_says_what_it_is_given():
    line = tiny.progress_line(50, 100, math.log(2) * 3, 1234.4, 0.75)
    assert line == (
        "[#####.....]  50/100 loss 2.079, 3.000 bits/byte, 1,234 tokens/s, busiest 1.8x"
    )
    assert "busiest" not in tiny.progress_line(1, 100, 1.0, 1.0, None)


def test_bits_per_byte_are_added_up_by_hand():
    torch.manual_seed(0)
    model = tiny.build("twin")
    windows = torch.randint(256, (33, 11))  # not a multiple of what is read at once
    with torch.no_grad():
        logits = model(windows[:, :-1]).log_softmax(-1)
    chances = logits.gather(-1, windows[:, 1:, None])
    assert tiny.bits_per_byte(model, windows) == pytest.approx(-chances.mean().item() / math.log(2))
    assert tiny.bits_per_byte(model, windows) == pytest.approx(8, abs=0.5)


def test_each_step_of_a_training_is_as_it_is_said_to_be(steps_taken):
    torch.manual_seed(0)
    record = tiny.train(tiny.build("dense"), seed=0, steps=3, peak=0.01)
    assert record["steps"] == [3] and record["seconds_so_far"] == [record["seconds"]]
    assert record["seconds"] > 0
    assert [step["rate"] for step in steps_taken] == [
        tiny.learning_rate(n, 3, 0.01) for n in range(3)
    ]
    for step in steps_taken:
        assert 0 < step["gradient"] <= tiny.CLIP * (1 + 1e-3)
        assert step["decays"] == {0.0, tiny.WEIGHT_DECAY}


def test_training_learns_and_balances_without_touching_unseen_text():
    torch.manual_seed(0)
    model = tiny.build("deepseek")
    before = {name: t.clone() for name, t in tensors_of(model).items() if "router.bias" in name}
    record = tiny.train(model, 0, 25)
    assert record["bits"][0] < 5.2  # from 8
    assert all(not torch.equal(t, tensors_of(model)[name]) for name, t in before.items())
    assert len(record["max_violation"]) == 3
    with pytest.raises(ValueError, match="steps: "):
        tiny.train(model, 0, 0)
    with pytest.raises(ValueError, match="peak: "):
        tiny.train(model, 0, 1, peak=-1.0)
    with pytest.raises(ValueError, match="measure_every: "):
        tiny.train(model, 0, 1, measure_every=0)


def test_the_record_holds_every_run_once_in_order():
    path = Path(tiny.__file__).parent / "recorded" / "tiny_deepseek.json"
    record = json.loads(path.read_text(encoding="utf-8"))
    jobs = [tuple(run["job"]) for run in record]
    assert jobs == sorted(set(jobs))  # not in the order in which processes ended
    seeds = {}
    for arm, seed, steps, peak in jobs:
        seeds.setdefault((steps, peak), {}).setdefault(arm, []).append(seed)
    for arms in seeds.values():  # what is compared has the same seeds
        assert len({tuple(each) for each in arms.values()}) == 1
    assert set(seeds[200, tiny.PEAK]) == set(tiny.ARMS)
    assert all(len(each) >= 3 for arms in seeds.values() for each in arms.values())


def test_writing_shows_text_only():
    torch.manual_seed(0)
    text = tiny.write(tiny.build("twin"), "def ", 40)
    assert len(text) <= 40 and all(c.isprintable() or c == "\n" for c in text)
    assert text == (torch.manual_seed(0), tiny.write(tiny.build("twin"), "def ", 40))[1]
