"""Whatever is put in: a ValueError that names the field, or finite numbers from 0 up; never another error."""

import inspect
import json
import math
from dataclasses import fields, is_dataclass
from decimal import Decimal

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepseek_explained import __main__ as command_line
from deepseek_explained import budget, serving_cost, total_cost, training_cost
from deepseek_explained.budget import Machine, ModelSpec
from deepseek_explained.config import CONFIGS, DeepSeekConfig, published_config
from deepseek_explained.facts import LEDGER_PATH, read_ledger
from deepseek_explained.tiny_deepseek import DeepSeek

PUBLISHED = {path.stem: published_config(path.stem) for path in sorted(CONFIGS.glob("*.json"))}
SPECS = [ModelSpec.from_config(config) for config in PUBLISHED.values()]

# What no field expects, and what some do.
odd = st.one_of(
    st.none(),
    st.booleans(),
    st.text(max_size=5),
    st.floats(),
    st.integers(),
    st.sampled_from((10**400, -(10**400), 5e-324, 1e308, -0.0, "1", "nan", Decimal(1), 1j, b"1")),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.none(), max_size=2),
)
number = st.floats(-40, 40).map(lambda exponent: 10**exponent) | st.integers(0, 10**12)
share = st.floats(0, 1) | st.sampled_from((0, 1, 1e-30, 5e-324))
length = st.integers(1, 10**9) | st.sampled_from((1, 2, 4096, 131_072))
few = st.integers(1, 600)
yes_or_no = st.booleans()
spec = st.sampled_from(SPECS)
word = st.sampled_from(
    ("h800", "H800", "h100", "h20", "A100", "b200", "fp8", "bf16", "fp32", "bf16 mixed")
)


def numbers_in(value):
    """All numbers of a result, whatever holds them; of an object also what its properties compute."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from numbers_in(item)
    elif is_dataclass(value):
        properties = [name for name, it in vars(type(value)).items() if isinstance(it, property)]
        for name in [field.name for field in fields(value)] + properties:
            if name != "support":  # a log-normal distribution has no upper end
                yield from numbers_in(getattr(value, name))


def check(function, arguments, names=(), lowest=0.0):
    """Call it: either a ValueError that begins with the name of a field, or finite numbers, none below `lowest`."""
    try:
        result = function(**arguments)
        numbers = list(numbers_in(result))
    except ValueError as error:
        field = str(error).split(":")[0].split(".")[0]
        assert field in {*arguments, *names}, f"names no field: {error}"
        return
    for value in numbers:
        assert math.isfinite(value) and value >= lowest, f"{value} in {result}"


machine = st.builds(Machine, st.just("a chip"), st.floats(1e9, 1e18), st.floats(1e9, 1e14))
gpus = st.sampled_from([serving_cost.gpu(name) for name in ("h800", "h20", "b200")])


@st.composite
def unit(draw):
    model = draw(spec)
    n_gpus = draw(
        st.sampled_from([n for n in (1, 2, 4, 8, 16, 64) if n <= 8 or model.n_moe_layers])
    )
    if model.n_moe_layers:
        n_gpus = min(n_gpus, model.experts.n_routed)
    return serving_cost.Unit(model, n_gpus, draw(gpus), draw(st.sampled_from((1, 2))))


twin = st.builds(serving_cost.Twin, spec, st.sampled_from((1, 2)), yes_or_no)
run = dict(spec=spec, tokens=number, context_length=length, peak_flops=number, utilisation=share, n_gpus=length,
           usd_per_gpu_hour=number, causal=yes_or_no)  # fmt: skip
reason = st.just("for a test") | odd
MINUS_INFINITY = -math.inf

# {function: (sensible arguments, names of fields that are not arguments, the least that may come)}
FUNCTIONS = {
    budget.forward_flops_per_token: (dict(spec=spec, context_length=length, causal=yes_or_no),),
    budget.training_flops_per_token: (dict(spec=spec, context_length=length, causal=yes_or_no),),
    budget.kv_cache_bytes_per_token: (dict(spec=spec, bytes_per_element=number),),
    budget.weight_bytes: (dict(spec=spec, precision=word, with_mtp=yes_or_no),),
    budget.training_state_bytes: (dict(spec=spec, recipe=word),),
    budget.count_parameters: (dict(spec=spec),),
    budget.bill: (dict(spec=spec, context_length=length),),
    budget.Machine: (dict(name=st.just("a chip"), peak_flops=number, bandwidth=number),),
    training_cost.dense_peak: (dict(gpu=word, precision=word),),
    training_cost.gpu_hours: (dict(flops=number, peak_flops=number, utilisation=share),),
    training_cost.gpu_hours_by_the_clock: (
        dict(tokens=number, tokens_per_step=length, seconds_per_step=number, n_gpus=length),
    ),
    training_cost.utilisation: (dict(flops=number, gpu_hours=number, peak_flops=number),),
    training_cost.Cost: (dict(dollars=number, definition=st.sampled_from((*training_cost.DEFINITIONS, "gift"))),),
    training_cost.rent: (dict(gpu_hours=number, usd_per_gpu_hour=number), ("dollars",)),
    training_cost.TrainingRun: (run, ("flops_per_token", "dollars", "flops", "gpu_hours")),
    training_cost.with_multi_head_attention: (dict(spec=spec, n_kv_heads=few),),
    training_cost.dense_twin: (dict(spec=spec, activated=number),),
    training_cost.mtp_training_flops_per_token: (dict(spec=spec, context_length=length),),
    training_cost.work_per_token: (dict(spec=spec, context_length=length),),
    training_cost.Assumption: (
        dict(name=st.just("it"), low=number, central=number, high=number, unit=st.just("W"), reason=reason),
    ),
    training_cost.electricity_kwh: (
        dict(gpu_hours=number, watts_per_gpu=number, power_utilisation=share, pue=st.floats(0.9, 3)),
    ),
    training_cost.carbon_tonnes: (dict(kwh=number, kg_per_kwh=number),),
    training_cost.electricity_cost: (dict(kwh=number, usd_per_kwh=number), ("dollars",)),
    total_cost.Constant: (dict(value=number, reason=reason),),
    total_cost.Uniform: (dict(low=number, high=number, reason=reason),),
    total_cost.Triangular: (dict(low=number, central=number, high=number, reason=reason),),
    total_cost.LogNormal: (dict(low=number, high=number, reason=reason),),
    total_cost.rented_cost: (dict(gpu_hours=number, rent=number),),
    total_cost.owned_dollars_per_hour: (
        dict(gpu_price=number, life_years=number, operation=number, occupancy=share),
    ),
    total_cost.break_even_occupancy: (
        dict(gpu_price=number, life_years=number, operation=number, rent=number),
    ),
    total_cost.fleet_capex: (
        dict(gpus=st.dictionaries(word, number), prices=st.dictionaries(word, number)),
        ("gpu", *(field for gpu in total_cost.FLEET_GPUS for field in (gpu, f"price of the {gpu}"))),
    ),
    total_cost.electricity_per_year: (dict(gpu=word, pue=st.floats(0.9, 3), dollars_per_kwh=number),),
    total_cost.hours_at_context: (dict(n_tokens=number, context_length=length),),
    total_cost.sparse_training_flops_per_token: (dict(context_length=length),),
    total_cost.sparse_hours: (dict(n_tokens=number, context_length=length),),
    total_cost.operation_range: (dict(years_covered=number), ("central", "high", "low")),
    total_cost.percentiles: (
        dict(values=st.lists(number, max_size=4), percents=st.lists(st.floats(0, 100), max_size=3)),
        ("percent",),
    ),
    total_cost.rank_correlation: (
        dict(xs=st.lists(number, max_size=4), ys=st.lists(number, max_size=4)), ("xs, ys",), -1.0,
    ),
    serving_cost.Prices: (dict(hit=number, miss=number, out=number),),
    serving_cost.ServiceDay: (
        dict(nodes=number, gpus_per_node=few, hours=number, usd_per_gpu_hour=number, input_tokens=number,
             hit_tokens=number, output_tokens=number),
    ),
    serving_cost.markup: (dict(revenue=number, cost=number), (), -1.0),
    serving_cost.margin: (dict(revenue=number, cost=number), (), MINUS_INFINITY),
    serving_cost.nodes_needed: (dict(tokens=number, tokens_per_node_second=number, hours=number),),
    serving_cost.usd_per_million: (dict(usd_per_hour=number, tokens_per_second=number),),
    serving_cost.distinct_experts: (dict(n_experts=few, n_active=few, n_tokens=number),),
    serving_cost.exchange_seconds: (
        dict(n_tokens=number, copies=number, width=length, bytes_per_number=number, bandwidth=number),
    ),
    serving_cost.Unit: (
        dict(spec=spec, n_gpus=few, gpu=gpus, bytes_per_weight=st.sampled_from((1, 2, 3)),
             redundant_experts=few, attention_split=st.sampled_from((1, 2, 8))),
    ),
    serving_cost.Twin: (dict(spec=spec, bytes_per_weight=st.sampled_from((1, 2, 3)), drafts=yes_or_no),),
    serving_cost.matrix_flops_per_token: (dict(spec=spec),),
    serving_cost.decode_multiplications_per_key: (dict(spec=spec),),
    serving_cost.decode_step: (
        dict(unit=unit(), batch=number, context_length=length, acceptance=share | st.none()),
        ("n_tokens",),  # one or two for each conversation of the batch
    ),
    serving_cost.prefill_step: (
        dict(unit=unit(), n_tokens=length, context_length=length, nodes_per_token=number | st.none()),
    ),
    serving_cost.smallest_nodes: (
        dict(spec=spec, precision=word, bytes_per_gpu=number, usable=share),
    ),
    serving_cost.batch_that_fits: (
        dict(unit=unit(), context_length=length, drafts=yes_or_no, usable=share),
    ),
    serving_cost.largest_batch: (
        dict(unit=unit(), context_length=length, tokens_per_second=number, acceptance=share | st.none(),
             overlap=yes_or_no, usable=share),
    ),
    serving_cost.cheapest_decode: (
        dict(twin=twin, context_length=length, tokens_per_second=number, acceptance=share, overlap=yes_or_no,
             gpu=gpus, usable=share),
    ),
    serving_cost.cheapest_prefill: (dict(twin=twin, context_length=length, overlap=yes_or_no, gpu=gpus),),
    serving_cost.training_gpu_hours: (
        dict(twin=twin, tokens=number, context_length=length, pace=number),
    ),
}  # fmt: skip


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_cost_functions(function, data):
    sensible, *rest = FUNCTIONS[function]
    arguments = {name: data.draw(strategy, name) for name, strategy in sensible.items()}
    for name in data.draw(st.sets(st.sampled_from(sorted(sensible)), max_size=2), "odd"):
        arguments[name] = data.draw(odd, name)
    check(function, arguments, *rest)


json_values = st.recursive(
    odd.filter(lambda value: not isinstance(value, Decimal | complex | bytes)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
sizes = st.integers(1, 12) | st.sampled_from((16, 64, 1024, 10**9))


@st.composite
def changed_configs(draw):
    """A published configuration, some of its fields changed, deleted or taken from another."""
    config = dict(draw(st.sampled_from(list(PUBLISHED.values()))))
    other = draw(st.sampled_from(list(PUBLISHED.values())))
    for name in draw(st.sets(st.sampled_from(sorted(config)), max_size=4)):
        kind = draw(st.sampled_from(("odd", "size", "other", "gone")))
        if kind == "gone":
            del config[name]
        else:
            value = {"odd": json_values, "size": sizes, "other": st.just(other.get(name))}[kind]
            config[name] = draw(value)
    return config


FIELDS = {name for config in PUBLISHED.values() for name in config} | {
    "decoder_sparse_step", "mlp_only_layers", "num_experts", "num_local_experts", "use_sliding_window",
    "sliding_window", "head_dim", "mlp_bias", "num_nextn_predict_layers", "rope_parameters",
}  # fmt: skip
FIELDS |= {field.name for field in fields(DeepSeekConfig)}


@given(config=changed_configs() | json_values, context=length)
def test_configurations(config, context):
    check(
        lambda config: budget.bill(ModelSpec.from_config(config), context),
        dict(config=config),
        FIELDS,
    )
    check(DeepSeekConfig.from_dict, dict(mapping=config), FIELDS)


LEDGER = LEDGER_PATH.read_text(encoding="utf-8")
ENTRY = """["v3.total_pub"]
value = 671
unit = "billion parameters"
counts = "all"
date = "2024-12"
source = "dsv3"
locator = "abstract"
standing = "read in the source"
note = "a \\u00e9 'quoted' note"
"""


@st.composite
def changed_text(draw, text):
    """The text with a few stretches replaced."""
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(text)))
        stop = min(len(text), start + draw(st.integers(0, 20)))
        new = draw(
            st.text(max_size=8)
            | st.sampled_from(
                ('"', "[", "]", "\n", "inf", "nan", "-1", "1e999", "[1, 2]", "true", "9" * 50)
            )
        )
        text = text[:start] + new + text[stop:]
    return text


def test_what_the_cases_start_from_is_good():
    assert read_ledger(ENTRY)["v3.total_pub"].value == 671e9
    for function, (sensible, *_) in FUNCTIONS.items():
        assert set(sensible) <= set(inspect.signature(function).parameters)


@given(text=changed_text(ENTRY) | changed_text(LEDGER[:2000]) | st.text())
def test_ledgers(text):
    try:
        entries = read_ledger(text)
    except ValueError as error:
        assert ": " in str(error)
        return
    for figure in entries.values():
        low, high = figure.interval
        assert low <= high and math.isfinite(figure.rounding)
        str(figure)


TINY = DeepSeekConfig.from_dict(PUBLISHED["tiny"])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    torch.manual_seed(0)
    DeepSeek(TINY).save(folder / "good.safetensors")
    return folder, (folder / "good.safetensors").read_bytes()


@given(data=st.data())
def test_checkpoints(checkpoint, data):
    """Damage anywhere in the file, most of it in the header: refused with a sentence, or read as what it then says."""
    folder, content = checkpoint
    header = 8 + int.from_bytes(content[:8], "little")
    content = bytearray(content)
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, header) | st.integers(0, len(content)))
        length = data.draw(st.integers(0, 8))
        content[start : start + length] = data.draw(st.binary(max_size=8))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content))) :]
    damaged = folder / "damaged.safetensors"
    damaged.write_bytes(content)
    try:
        model = DeepSeek.load(damaged)
    except ValueError as error:
        assert str(error).split(":")[0].split(".")[0] in {"path", "config", "tensors", *FIELDS}
    else:
        assert model.config.vocab_size == model.embed_tokens.num_embeddings


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=changed_configs().map(lambda config: json.dumps(config, default=repr).encode())
    | st.binary(max_size=40),
    options=st.lists(
        st.sampled_from(("--json", "--context", "4096", "0", "-1", "1e3", "--", "--help", "--other"))
        | st.text(max_size=4),
        max_size=3,
    ),
)  # fmt: skip
def test_command_line(tmp_path_factory, capsys, content, options):
    path = tmp_path_factory.getbasetemp() / "config.json"
    path.write_bytes(content)
    try:
        status = command_line.main([str(path), *options])
    except SystemExit as end:
        status = end.code
    out, complaint = capsys.readouterr()
    assert status in (0, 2)
    if status == 2:
        assert complaint.startswith(command_line.PROGRAM) and complaint.count("\n") == 1
    for word in ("nan", "inf", "NaN", "Infinity"):
        assert word not in out.split()
