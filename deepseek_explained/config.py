"""Configurations: the fields of a published `config.json`, read and checked before anything is computed from them."""

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path

CONFIGS = Path(__file__).with_name("configs")

# The sentence that walks through every chapter, one token a word; TINY_TOKEN is the word that is followed.
TINY_WORDS = (
    "it cost six million dollars to train the model once and more than that before .".split()
)
TINY_SENTENCE = "it cost six million dollars to train the model once".split()
TINY_TOKEN = "million"

# No model comes near these; beyond them, arithmetic in floating point would lose its meaning.
LARGEST_COUNT = 10**9
LARGEST_NUMBER = 1e30


def shown(value: object) -> str:
    """A value as an error message prints it: its first 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def whole_number(name: str, value: object, minimum: int = 1) -> int:
    """`value`, if it is a whole number from `minimum` to a billion. Raises ValueError naming it."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not minimum <= value <= LARGEST_COUNT:
        span = f"from {minimum} to {LARGEST_COUNT:,}"
        raise ValueError(f"{name}: expected a whole number {span}, got {shown(value)}")
    return value


def finite_number(name: str, value: object) -> float:
    """`value`, if it is a number from 1e-30 to 1e30. Raises ValueError naming it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 / LARGEST_NUMBER <= value <= LARGEST_NUMBER:
        raise ValueError(f"{name}: expected a finite number above zero, got {shown(value)}")
    return float(value)


def amount(name: str, value: object, maximum: float = math.inf) -> float:
    """`value`, if it is 0 or a number from 1e-30 to 1e30 and at most `maximum`. Raises ValueError naming it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and value == 0:
        return 0.0
    if not is_number or not 1 / LARGEST_NUMBER <= value <= min(maximum, LARGEST_NUMBER):
        span = f"0 to {maximum:g}" if maximum < math.inf else "0 or more"
        raise ValueError(f"{name}: expected a finite number, {span}, got {shown(value)}")
    return float(value)


def fraction(name: str, value: object) -> float:
    """`value`, if it is a share: above 0, at most 1. Raises ValueError naming it."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not 1 / LARGEST_NUMBER <= value <= 1:
        raise ValueError(f"{name}: expected a share above 0 and at most 1, got {shown(value)}")
    return float(value)


def of_kind(name: str, value: object, kind: type) -> object:
    """`value`, if it is a `kind`. Raises ValueError naming it."""
    if not isinstance(value, kind):
        raise ValueError(f"{name}: expected a {kind.__name__}, got {shown(value)}")
    return value


def flag(name: str, value: object) -> bool:
    """`value`, if it is true or false. Raises ValueError naming it."""
    if not isinstance(value, bool):
        raise ValueError(f"{name}: expected true or false, got {shown(value)}")
    return value


def one_of(name: str, value: object, options: tuple[str, ...]) -> str:
    """`value`, if it is one of `options`. Raises ValueError naming it."""
    if not isinstance(value, str) or value not in options:
        raise ValueError(f"{name}: expected one of {', '.join(options)}; got {shown(value)}")
    return value


def only(mapping: Mapping, name: str, supported: object) -> None:
    """Raise ValueError naming the field `name` if it is there with another than the one supported value."""
    value = mapping.get(name, supported)
    if value is not None and (type(value) is not type(supported) or value != supported):
        raise ValueError(f"{name}: expected {supported!r}, got {shown(value)}")


def required(mapping: Mapping, name: str) -> object:
    """The field `name` of a configuration. Raises ValueError if it is not there."""
    if name not in mapping:
        raise ValueError(f"{name}: missing")
    return mapping[name]


def published_config(name: str) -> dict:
    """The content of a published `config.json` that comes with the book, such as `deepseek-v3`.

    Raises ValueError naming the configurations there are.
    """
    names = tuple(sorted(path.stem for path in CONFIGS.glob("*.json")))
    path = CONFIGS / f"{one_of('configuration', name, names)}.json"
    return json.loads(path.read_text(encoding="utf-8"))


@dataclass(frozen=True)
class YarnScaling:
    """The `rope_scaling` of a `config.json`: how YaRN stretches the rotary encoding to longer contexts."""

    factor: float
    original_max_position_embeddings: int
    beta_fast: float = 32.0
    beta_slow: float = 1.0
    mscale: float = 1.0
    mscale_all_dim: float = 0.0

    def __post_init__(self):
        for name in ("factor", "beta_fast", "beta_slow"):
            finite_number(name, getattr(self, name))
        for name in ("mscale", "mscale_all_dim"):
            value = getattr(self, name)
            if isinstance(value, bool) or value != 0:
                finite_number(name, value)
        whole_number("original_max_position_embeddings", self.original_max_position_embeddings)
        if self.factor < 1:
            raise ValueError(f"factor: expected at least 1, got {self.factor!r}")

    @classmethod
    def from_dict(cls, mapping: Mapping) -> "YarnScaling":
        names = [field.name for field in fields(cls)]
        for name in ("factor", "original_max_position_embeddings"):
            required(mapping, name)
        return cls(**{name: mapping[name] for name in names if mapping.get(name) is not None})


# Fields without which a configuration is not complete, though null has a meaning.
MAY_BE_NULL = ("q_lora_rank", "n_shared_experts", "first_k_dense_replace")


@dataclass(frozen=True)
class DeepSeekConfig:
    """The shape of a DeepSeek-V3-like model, under the field names of its `config.json`.

    Sizes count features, heads, experts or layers. `q_lora_rank` None leaves the queries uncompressed.
    Construction checks every field and raises ValueError naming the one that is wrong.
    """

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    moe_intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    kv_lora_rank: int
    qk_nope_head_dim: int
    qk_rope_head_dim: int
    v_head_dim: int
    n_routed_experts: int
    num_experts_per_tok: int
    q_lora_rank: int | None = None
    n_shared_experts: int = 1
    n_group: int = 1
    topk_group: int = 1
    first_k_dense_replace: int = 0
    num_nextn_predict_layers: int = 0
    routed_scaling_factor: float = 1.0
    norm_topk_prob: bool = True
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10000.0
    rope_scaling: YarnScaling | None = None
    max_position_embeddings: int = 4096
    initializer_range: float = 0.02
    attention_bias: bool = False
    tie_word_embeddings: bool = False

    def __post_init__(self):
        may_be_zero = ("n_shared_experts", "first_k_dense_replace", "num_nextn_predict_layers")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type is int:
                whole_number(field.name, value, minimum=0 if field.name in may_be_zero else 1)
            elif field.type is float:
                finite_number(field.name, value)
            elif field.type is bool:
                flag(field.name, value)
        if self.q_lora_rank is not None:
            whole_number("q_lora_rank", self.q_lora_rank)
        if self.rope_scaling is not None and not isinstance(self.rope_scaling, YarnScaling):
            raise ValueError(
                f"rope_scaling: expected YarnScaling or None, got {shown(self.rope_scaling)}"
            )
        if self.qk_rope_head_dim % 2:
            raise ValueError(
                f"qk_rope_head_dim: expected an even number, got {self.qk_rope_head_dim}"
            )
        check_experts(self.n_routed_experts, self.num_experts_per_tok)
        check_groups(self.n_routed_experts, self.num_experts_per_tok, self.n_group, self.topk_group)
        if self.first_k_dense_replace > self.num_hidden_layers:
            raise ValueError(
                f"first_k_dense_replace: expected at most num_hidden_layers = {self.num_hidden_layers}, "
                f"got {self.first_k_dense_replace}"
            )

    @classmethod
    def from_dict(cls, mapping: Mapping) -> "DeepSeekConfig":
        """Read the content of a `config.json`, as published or as transformers 5 writes it with `to_dict()`.

        Fields that do not shape the model are ignored; what this class cannot represent is refused by name.
        """
        model_type(mapping, ("deepseek_v3", "kimi_k2"))
        only(mapping, "hidden_act", "silu")
        only(mapping, "scoring_func", "sigmoid")
        only(mapping, "topk_method", "noaux_tc")
        only(mapping, "moe_layer_freq", 1)
        values = {}
        for field in fields(cls):
            if field.default is MISSING or field.name in MAY_BE_NULL:
                values[field.name] = required(mapping, field.name)
            elif mapping.get(field.name) is not None:
                values[field.name] = mapping[field.name]
        values["n_shared_experts"] = values["n_shared_experts"] or 0
        values["rope_theta"], values["rope_scaling"] = read_rope(mapping)
        return cls(**values)

    def to_dict(self) -> dict:
        """The content of a `config.json` that `from_dict` reads back."""
        content = {"model_type": "deepseek_v3", **asdict(self)}
        if self.rope_scaling is not None:
            content["rope_scaling"]["type"] = "yarn"
        return content


def model_type(mapping: Mapping, supported: tuple[str, ...]) -> str:
    """The model's family. Raises ValueError naming `model_type` if it is missing or not supported."""
    if not isinstance(mapping, Mapping):
        raise ValueError(
            f"model_type: expected the content of a config.json, an object, got {shown(mapping)}"
        )
    return one_of("model_type", required(mapping, "model_type"), supported)


def check_experts(n_routed: int, n_active: int) -> None:
    """Raise ValueError if more experts are active than there are."""
    if n_active > n_routed:
        raise ValueError(
            f"num_experts_per_tok: expected at most the {n_routed} routed experts, got {n_active}"
        )


def check_groups(n_routed: int, n_active: int, n_group: int, topk_group: int) -> None:
    """Raise ValueError naming the field if group-limited routing cannot work with these numbers.

    The score of a group is the sum of its two best experts, so a group needs two.
    """
    if n_routed % n_group:
        raise ValueError(
            f"n_group: expected a divisor of the {n_routed} routed experts, got {n_group}"
        )
    if n_group > 1 and n_routed // n_group < 2:
        raise ValueError(f"n_group: expected at least two experts in a group, got {n_group} groups")
    if topk_group > n_group:
        raise ValueError(f"topk_group: expected at most n_group = {n_group}, got {topk_group}")
    reachable = topk_group * (n_routed // n_group)
    if n_active > reachable:
        raise ValueError(
            f"num_experts_per_tok: expected at most the {reachable} experts of "
            f"topk_group = {topk_group} groups, got {n_active}"
        )


def read_rope(mapping: Mapping) -> tuple[float, YarnScaling | None]:
    """`rope_theta` and the YaRN scaling, from `rope_parameters` (transformers 5) or `rope_scaling`."""
    name = "rope_scaling" if mapping.get("rope_parameters") is None else "rope_parameters"
    scaling = mapping.get(name)
    if scaling is None:
        scaling = {}
    if not isinstance(scaling, Mapping):
        raise ValueError(f"{name}: expected an object or null, got {shown(scaling)}")
    theta = scaling.get("rope_theta", mapping.get("rope_theta", 10000.0))
    finite_number("rope_theta", theta)
    kind = scaling.get("rope_type", scaling.get("type", "default"))
    if one_of(f"{name}.type", kind, ("default", "yarn")) == "default":
        return float(theta), None
    try:
        return float(theta), YarnScaling.from_dict(scaling)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None
