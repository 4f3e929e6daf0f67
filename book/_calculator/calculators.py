"""The four calculators: which inputs they have, what the book's modules make of them, and how that is shown.

    python book/_calculator/calculators.py "training-run&tokens.central=20"

prints a calculation as JSON. The page runs the same text; a calculation is written as in the page's address.
"""

import json
import math
import random
from dataclasses import dataclass, replace
from itertools import groupby

from drawing import (
    Cell,
    Figure,
    Table,
    bars,
    capitalised,
    dollars,
    escape,
    histogram,
    in_bins,
    intervals,
    lines,
    plain,
    scaled,
    significant,
)

from deepseek_explained.budget import (
    ModelSpec,
    bill,
    kv_cache_bytes_per_token,
    weight_bytes,
)
from deepseek_explained.config import amount, fraction, published_config, whole_number
from deepseek_explained.facts import fact
from deepseek_explained.serving_cost import (
    USABLE_MEMORY,
    Unit,
    batch_that_fits,
    decode_step,
    gpu,
    smallest_nodes,
)
from deepseek_explained.total_cost import (
    DEFINITIONS,
    GROUPS,
    INPUTS,
    Triangular,
    costs,
    percentiles,
    rungs,
    simulate,
    tornado,
)
from deepseek_explained.training_cost import GPUS, TrainingRun, dense_peak, gpu_hours, rent

FIRST_DRAWS = 1_000  # shown while the rest is drawn
MOST_DRAWS = 200_000  # a minute or two in a browser


@dataclass(frozen=True)
class Field:
    """One input. `name` is how the module's messages call it; `times` and `over` bring what is typed to its unit.

    options: what can be chosen, {value: label}. exact: the number that stands behind a rounded `default`.
    group: the fields of a name beside each other form a box with `reason` under it. part: the box's own part.
    """

    name: str
    label: str
    default: str
    unit: str = ""
    times: float = 1
    over: float = 1
    options: dict | None = None
    rows: int = 0
    exact: float | None = None
    group: str = ""
    reason: str = ""
    part: str = ""

    def read(self, text: str):
        """What was typed as the module wants it. What is no number stays text: the module refuses it by name."""
        text = text.strip()
        if self.options or self.rows:
            return text
        if self.exact is not None and text == self.default:
            return self.exact
        plain = text.replace(",", "").replace(" ", "").replace("_", "")
        try:
            value = int(plain)
        except ValueError:
            try:
                value = float(plain)
            except ValueError:
                return text
        return value if self.times == self.over else value * self.times / self.over


@dataclass(frozen=True)
class Result:
    summary: str
    shown: list  # tables and figures, in the order in which they are read
    draws: int = 0  # of how many draws this is the result

    def html(self) -> str:
        body = "".join(item.html() for item in self.shown)
        return f'<p class="calculator-summary">{escape(self.summary)}</p>{body}'

    def tables(self) -> list:
        found = [item if isinstance(item, Table) else item.table for item in self.shown]
        return [table for table in found if table]


@dataclass(frozen=True)
class Calculator:
    """aliases: a name in a module's message -> the field where it is shown, if they differ."""

    key: str
    fields: tuple
    compute: object
    aliases: dict

    def field(self, name: str) -> Field:
        for field in self.fields:
            if field.name == name:
                return field
        names = ", ".join(field.name for field in self.fields)
        raise ValueError(f"{name}: expected one of {names}")

    def values(self, typed: dict) -> dict:
        """{field: number or text}; what was not typed has its default."""
        for name in typed:
            self.field(name)
        return {
            field.name: field.read(typed.get(field.name, field.default)) for field in self.fields
        }


NAMES = {
    "deepseek-v3": "DeepSeek-V3",
    "deepseek-v2": "DeepSeek-V2",
    "deepseek-v2-lite": "DeepSeek-V2-Lite",
    "deepseek-llm-67b": "DeepSeek LLM 67B",
    "kimi-k2": "Kimi K2",
    "llama-3.1-405b": "Llama 3.1 405B",
    "llama-3.1-70b": "Llama 3.1 70B",
    "llama-3.1-8b": "Llama 3.1 8B",
    "llama-3.2-1b": "Llama 3.2 1B",
    "mixtral-8x7b": "Mixtral 8x7B",
    "qwen2.5-72b": "Qwen2.5 72B",
    "qwen3-235b-a22b": "Qwen3 235B-A22B",
    "qwen3-30b-a3b": "Qwen3 30B-A3B",
    "qwen3-8b": "Qwen3 8B",
    "tiny": "the book's tiny model",
}
MODEL = Field("configuration", "Model", "deepseek-v3", options=NAMES)
PASTED = "pasted"


def integer(value: int) -> Cell:
    return Cell(value, f"{value:,}")


def number(value: float, per: float = 1, digits: int = 4) -> Cell:
    return Cell(value, significant(value / per, digits))


# 1. The bill of a model

SERVERS = ("h800", "h100", "h200", "h20", "b200")


def read_model(values: dict) -> tuple[str, ModelSpec]:
    """Name and shape of the chosen model, or of the one whose config.json was pasted."""
    name = values["configuration"]
    if name != PASTED:
        return NAMES.get(name, name), ModelSpec.from_config(published_config(name))
    try:
        content = json.loads(values["config.json"])
    except ValueError:
        raise ValueError("config.json: expected JSON, the content of a config.json") from None
    return "This model", ModelSpec.from_config(content)


def model_bill(values: dict, draws: int) -> Result:
    name, spec = read_model(values)
    context, batch = values["context_length"], whole_number("batch", values["batch"])
    a_bill = bill(spec, context)
    counted = a_bill["parameters"]
    parts = [
        (part.replace("_", " "), stored, counted["met_by_component"][part])
        for part, stored in counted["by_component"].items()
        if stored or counted["met_by_component"][part]
    ]
    rows = [(part, integer(stored), integer(met)) for part, stored, met in parts]
    rows.append(("all", integer(counted["total"]), integer(counted["activated"])))
    rows.append(
        ("activated, input embedding counted too", "", integer(counted["activated_with_embedding"]))
    )
    if counted["mtp"]:
        rows.append(("multi-token prediction, on top", integer(counted["mtp"]), ""))
    per_token = kv_cache_bytes_per_token(spec, values["bytes_per_element"])
    cache = per_token * context * batch
    work = [
        ("forward pass, GFLOP a token", number(a_bill["forward_flops_per_token"], 1e9)),
        ("training, GFLOP a token", number(a_bill["training_flops_per_token"], 1e9)),
        ("cache of one token, KB", number(per_token, 1e3)),
        (f"cache of {context:,} tokens, GB", number(per_token * context, 1e9)),
        (f"cache of all conversations ({batch:,}), GB", number(cache, 1e9)),
    ]
    work += [
        (f"weights in {form.upper()}, GB", number(size, 1e9))
        for form, size in a_bill["weight_bytes"].items()
    ]
    usable = fraction("usable", values["usable"])
    fits = []
    for chip in SERVERS:
        memory = fact(f"gpu.{chip}.memory").interval[0]
        row = [f"{chip.upper()}, {memory / 1e9:.0f} GB"]
        for form in ("fp8", "bf16"):
            nodes = smallest_nodes(spec, form, memory, usable)
            with_cache = math.ceil((weight_bytes(spec, form) + cache) / (memory * usable))
            row += [
                integer(math.ceil(weight_bytes(spec, form) / (memory * usable))),
                integer(with_cache),
                integer(nodes),
            ]
        fits.append(row)
    drawn = [
        (part, [(1, stored, f"{scaled(stored, 3)} stored"), (2, met, f"{scaled(met, 3)} met")])
        for part, stored, met in parts
    ]
    summary = (
        f"{name} has {scaled(counted['total'])} parameters; a token meets {scaled(counted['activated'])}, or "
        f"{scaled(counted['activated_with_embedding'])} with the input embedding. A forward pass takes "
        f"{significant(a_bill['forward_flops_per_token'] / 1e9)} GFLOP a token, "
        f"the cache {significant(per_token / 1e3)} KB a token."
    )
    return Result(
        summary,
        [
            Table("Parameters, by component", ("component", "stored", "met by a token"), rows),
            Figure(
                bars(drawn),
                f"Bars of the parameters of each component, stored and met by one token. {summary}",
                "Parameters by component: stored, and met by one token.",
                Table(
                    "Each component", ("component", "stored", "met by a token"), rows[: len(parts)]
                ),
            ),
            Table(
                f"Work, cache and weights, at {context:,} tokens of context",
                ("what", "value"),
                work,
            ),
            Table(
                "GPUs that hold it, by bytes alone",
                (
                    "GPU",
                    *(
                        f"{form}{what}"
                        for form in ("FP8", "BF16")
                        for what in (" weights", " with cache", ", nodes of 8")
                    ),
                ),
                fits,
            ),
        ],
    )


def spread(what, all_dollars, ends, alt, caption) -> Figure:
    """The histogram of what the draws gave, with lines at their 5th, 50th and 95th percentile, and its numbers."""
    bins = in_bins([value / 1e6 for value in all_dollars])
    marks = [
        (end / 1e6, f"{name} {dollars(end, 3)}")
        for name, end in zip(("5 %", "median", "95 %"), ends, strict=True)
    ]
    rows = [
        (f"{significant(low)} to {significant(high)}", integer(count)) for low, high, count in bins
    ]
    table = Table(f"Where the draws fell: {what}", ("million dollars", "draws"), rows)
    return Figure(histogram(bins, marks, "million dollars"), alt, caption, table)


# 2. A training run


def draws_of(values: dict, draws: float) -> int:
    """How many draws to make now: what was typed, or less if the answer must be quick."""
    n_draws = whole_number("n_draws", values["n_draws"])
    if n_draws > MOST_DRAWS:
        raise ValueError(f"n_draws: expected at most {MOST_DRAWS:,}, got {n_draws:,}")
    return min(n_draws, draws)


def ranged(name, label, ends, unit, reason, times=1, over=1):
    """Three fields for one uncertain number."""
    return tuple(
        Field(f"{name}.{end}", end, default, unit, times, over, group=label, reason=reason)
        for end, default in zip(("low", "central", "high"), ends, strict=True)
    )


RUN_RANGES = ("tokens", "utilisation", "usd_per_gpu_hour")


def end_of_run(values: dict, end: str) -> TrainingRun:
    """The run with its uncertain numbers all at one end. A refusal names the field of that end."""
    _, spec = read_model(values)
    try:
        return TrainingRun(
            spec,
            context_length=values["context_length"],
            peak_flops=dense_peak(values["gpu"], values["precision"]),
            n_gpus=values["n_gpus"],
            **{name: values[f"{name}.{end}"] for name in RUN_RANGES},
        )
    except ValueError as error:
        field, colon, rest = str(error).partition(":")
        raise ValueError(
            f"{field}.{end}{colon}{rest}" if field in RUN_RANGES else str(error)
        ) from None


def range_of(values: dict, name: str, reason: str) -> Triangular:
    """The triangular distribution between three fields. A refusal names the field."""
    ends = (values[f"{name}.{end}"] for end in ("low", "central", "high"))
    try:
        return Triangular(*ends, reason)
    except ValueError as error:
        raise ValueError(f"{name}.{error}") from None


def training_run(values: dict, draws: int) -> Result:
    runs = {end: end_of_run(values, end) for end in ("low", "central", "high")}
    other = amount("other_gpu_hours", values["other_gpu_hours"])
    n_draws = draws_of(values, draws)
    seed = whole_number("seed", values["seed"], minimum=0)
    drawn_from = {name: range_of(values, name, "typed") for name in RUN_RANGES}
    middle = runs["central"]
    hours = middle.gpu_hours + other
    uniform = random.Random(seed).random
    drawn = []
    for _ in range(n_draws):
        x = {name: one.quantile(uniform()) for name, one in drawn_from.items()}
        flops = middle.flops_per_token * x["tokens"]
        run_hours = gpu_hours(flops, middle.peak_flops, x["utilisation"]) + other
        drawn.append((run_hours, rent(run_hours, x["usd_per_gpu_hour"]).dollars))
    all_hours, all_dollars = ([pair[place] for pair in drawn] for place in (0, 1))
    in_days = middle.n_gpus * 24
    found = {
        "GPU-hours, thousand": (hours, percentiles(all_hours, (5, 50, 95)), 1e3),
        "days": (
            hours / in_days,
            [value / in_days for value in percentiles(all_hours, (5, 50, 95))],
            1,
        ),
        "dollars, million": (
            rent(hours, middle.usd_per_gpu_hour).dollars,
            percentiles(all_dollars, (5, 50, 95)),
            1e6,
        ),
    }
    rows = [
        (what, number(central, per), *(number(end, per) for end in ends))
        for what, (central, ends, per) in found.items()
    ]
    low, median, high = found["dollars, million"][1]
    cheap = gpu_hours(runs["low"].flops, middle.peak_flops, runs["high"].utilisation) + other
    dear = gpu_hours(runs["high"].flops, middle.peak_flops, runs["low"].utilisation) + other
    steps = [
        ("FLOPs of one token", Cell(middle.flops_per_token, f"{scaled(middle.flops_per_token)}")),
        ("FLOPs of the run", Cell(middle.flops, f"{middle.flops:.3e}")),
        ("one GPU at its peak, TFLOP/s", number(middle.peak_flops, 1e12)),
        ("one GPU as used, TFLOP/s", number(middle.peak_flops * middle.utilisation, 1e12)),
        ("GPU-hours by FLOPs, thousand", number(middle.gpu_hours, 1e3)),
        ("GPU-hours of other stages, thousand", number(other, 1e3)),
        ("tokens a day, billion", number(middle.tokens_per_day, 1e9)),
        (
            "all at the cheap end, million dollars",
            number(cheap * runs["low"].usd_per_gpu_hour, 1e6),
        ),
        ("all at the dear end, million dollars", number(dear * runs["high"].usd_per_gpu_hour, 1e6)),
    ]
    summary = (
        f"{significant(hours / 1e3)} thousand GPU-hours, {significant(hours / in_days)} days "
        f"on {middle.n_gpus:,} GPUs, "
        f"{dollars(found['dollars, million'][0])}; nine draws in ten lie from {dollars(low, 3)} to {dollars(high, 3)}."
    )
    about = f"{n_draws:,} draws, seed {seed}"
    header = ("what", "central", "5 % of draws below", "median", "95 % below")
    return Result(
        summary,
        [
            Table(f"The run ({about})", header, rows),
            spread(
                "the run",
                all_dollars,
                (low, median, high),
                f"Histogram of the dollars of the run in {about}: from {dollars(low, 3)} (5 %) "
                f"by {dollars(median, 3)} (median) to {dollars(high, 3)} (95 %).",
                f"Rent of the run; {about}. The widest hundredth on the right is cut off.",
            ),
            Table("Step by step, at the central values", ("what", "value"), steps),
        ],
        n_draws,
    )


# 3. The whole cost

KINDS = {
    "Constant": ("value",),
    "Uniform": ("low", "high"),
    "Triangular": ("low", "central", "high"),
    "LogNormal": ("low", "high"),
}
SHAPES = {
    "Constant": "taken as known",
    "Uniform": "any value in between, all alike",
    "Triangular": "most likely the central one",
    "LogNormal": "nine draws in ten lie in between",
}
PARTS = {  # {part: {input: its label}}
    "Hours": {
        "run_hours": "V3's hours",
        "pre_hours": "hours of V3's pre-training",
        "r1_hours": "R1's hours",
        "v31_hours": "V3.1's hours",
        "v32_hours": "V3.2-Exp's hours",
        "long_context_overhead": "overhead of long contexts",
        "v32_post_share": "V3.2's post-training, share",
    },
    "Rent, experiments, data and people": {
        "rent": "rent",
        "development_factor": "factor for experiments",
        "data": "data",
        "staff": "number of people",
        "pay": "pay",
        "project_years": "years of work",
    },
    "Machines that are bought": {
        "server_price": "price of servers",
        "network_share": "network, share",
        "life_years": "years of life",
        "operation": "operation",
        "occupancy": "occupancy",
    },
    "The fleet": {
        "cluster_gpus": "GPUs of the cluster",
        "hopper_gpus": "Hopper GPUs",
        "a100_gpus": "A100 GPUs",
        "a100_price": "price of an A100",
        "fleet_years": "years of operation",
    },
}
LABELS = {name: label for labels in PARTS.values() for name, label in labels.items()}


def typed(value: float) -> str:
    """A number as one would type it, to six digits."""
    return f"{value:.6g}" if value < 1e6 else f"{float(f'{value:.6g}'):.0f}"


def input_fields():
    for part, labels in PARTS.items():
        for name, label in labels.items():
            one = INPUTS[name]
            kind = type(one).__name__
            for end in KINDS[kind]:
                value = getattr(one, end)
                yield Field(
                    f"{name}.{end}",
                    end,
                    typed(value),
                    exact=value,
                    group=label,
                    reason=f"{one.reason} ({SHAPES[kind]}).",
                    part=part,
                )


def chosen_inputs(values: dict) -> dict:
    """The book's distributions with the numbers of the page. A refusal names the field."""
    chosen = {}
    for name, one in INPUTS.items():
        try:
            chosen[name] = replace(
                one, **{end: values[f"{name}.{end}"] for end in KINDS[type(one).__name__]}
            )
        except ValueError as error:
            raise ValueError(f"{name}.{error}") from None
    return chosen


def all_costs(x: dict) -> dict:
    """Every rung and every definition of cost."""
    return rungs(x) | costs(x)


def whole_cost(values: dict, draws: int) -> Result:
    inputs = chosen_inputs(values)
    output, seed = values["definition"], values["seed"]
    groups = [replace(GROUPS[0], correlation=values["correlation"])]
    n_draws = draws_of(values, draws)
    swings = tornado(output, inputs)
    run = simulate(inputs, groups, n_draws, seed, all_costs)
    found = {name: run.percentiles(name) for name in run.outputs}
    about = f"{n_draws:,} draws, seed {seed}"
    ladder = [
        (text, *(number(end, 1e6) for end in found[name])) for name, text in DEFINITIONS.items()
    ]
    pieces = [
        (name, *(number(end, 1e6) for end in found[name]))
        for name in rungs({n: d.quantile(0.5) for n, d in inputs.items()})
    ]
    header = ("million dollars", "5 % of draws below", "median", "95 % below")
    drawn = [
        (
            capitalised(text.partition(": ")[2]),
            f"{dollars(low, 3)} to {dollars(high, 3)}, median {dollars(middle, 3)}",
            low / 1e6,
            middle / 1e6,
            high / 1e6,
        )
        for text, (low, middle, high) in ((text, found[name]) for name, text in DEFINITIONS.items())
    ]
    low, median, high = found[output]
    summary = (
        f"{capitalised(DEFINITIONS[output])}: {dollars(median, 3)} in the median, "
        f"nine draws in ten from {dollars(low, 3)} to {dollars(high, 3)}."
    )
    middle = all_costs({name: one.quantile(0.5) for name, one in inputs.items()})[output]
    moved = [
        (
            LABELS[swing.name],
            number(swing.low, 1e6),
            number(swing.high, 1e6),
            number(swing.width, 1e6),
        )
        for swing in swings
    ]
    shown = [
        Table(f"The ladder ({about})", header, ladder),
        Figure(
            intervals(drawn, "million dollars, in powers of ten", log=True),
            "Bars from the 5th to the 95th percentile of each definition of cost, with the median: "
            + "; ".join(f"{label} {text}" for label, text, *_ in drawn)
            + ".",
            f"The same under eight definitions; {about}. The mark is the median.",
            Table("Each definition", header, ladder),
        ),
        spread(
            DEFINITIONS[output],
            run.outputs[output],
            (low, median, high),
            f"Histogram of {DEFINITIONS[output]} in {about}. {summary}",
            f"{capitalised(DEFINITIONS[output])}; {about}. The widest hundredth on the right is cut off.",
        ),
    ]
    if moved:
        shown.append(
            Figure(
                intervals(
                    [
                        (
                            LABELS[swing.name],
                            f"{dollars(swing.low, 3)} to {dollars(swing.high, 3)}",
                            min(swing.low, swing.high) / 1e6,
                            None,
                            max(swing.low, swing.high) / 1e6,
                        )
                        for swing in swings
                    ],
                    "million dollars",
                    base=middle / 1e6,
                ),
                f"Tornado of {DEFINITIONS[output]}: each input from its 5th to its 95th percentile, "
                "the others at their medians. "
                + "; ".join(
                    f"{LABELS[swing.name]} {dollars(swing.low, 3)} to {dollars(swing.high, 3)}"
                    for swing in swings
                )
                + ".",
                f"What moves it: {DEFINITIONS[output]}, one input at a time. The line: all inputs at their medians.",
                Table(
                    "One input at a time, million dollars",
                    ("input", "at its 5 %", "at its 95 %", "swing"),
                    moved,
                ),
            )
        )
    shown.append(Table(f"The rungs ({about})", header, pieces))
    return Result(summary, shown, n_draws)


# 4. A token served

SPENT = ("matrices", "look_back", "weights", "cache", "exchange", "bound", "sum")
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
CONTEXTS = (256, 1024, 4096, 16_384, 65_536, 131_072)


def token_cost(values: dict, draws: int) -> Result:
    name, spec = read_model(values)
    rented = amount("usd_per_gpu_hour", values["usd_per_gpu_hour"])
    unit = Unit(
        spec,
        values["n_gpus"],
        gpu(values["gpu"]),
        int(values["bytes_per_weight"]),
        values["redundant_experts"],
        values["attention_split"],
    )
    usable, context, batch = values["usable"], values["context_length"], values["batch"]
    acceptance = None if values["acceptance"] == "" else values["acceptance"]
    step = decode_step(unit, batch, context, acceptance)
    drafts = acceptance is not None

    def room(length):
        return batch_that_fits(unit, length, drafts, usable)

    def priced(conversations, length, accepted):
        one = decode_step(unit, conversations, length, accepted)
        return [one.usd_per_million(rented, overlap) for overlap in (True, False)]

    def curves(points):
        return [
            (what, [(x, ends[place]) for x, ends in points])
            for place, what in enumerate(("bound: all overlaps", "sum: nothing overlaps"))
        ]

    def table(title, what, points):
        return Table(
            title,
            (what, "bound, $ per million", "sum, $ per million"),
            [(plain(x), *(number(end, 1, 3) for end in ends)) for x, ends in points],
        )

    fits = room(context)
    low, high = priced(batch, context, acceptance)
    speeds = [step.tokens / batch / seconds for seconds in (step.sum, step.bound)]
    too_many = f" Only {plain(fits)} fit in its memory." if batch > fits else ""
    summary = (
        f"{name} writes a million tokens for {dollars(low, 3)} (all overlaps) to {dollars(high, 3)} (nothing does), at "
        f"{significant(speeds[0], 3)} to {significant(speeds[1], 3)} tokens a second "
        f"for each of {plain(batch)} conversations a GPU.{too_many}"
    )
    answer = [
        ("dollars per million tokens written, bound", number(low)),
        ("dollars per million tokens written, sum", number(high)),
        ("tokens a second and conversation, sum", number(speeds[0])),
        ("tokens a second and conversation, bound", number(speeds[1])),
        ("weights on one GPU, GB", number(unit.held_bytes, 1e9)),
        ("room for caches on one GPU, GB", number(unit.room(usable), 1e9)),
        ("conversations a GPU that fit", number(fits)),
    ]
    spent = [(what.replace("_", " "), number(getattr(step, what), 1e-3)) for what in SPENT]
    sizes = sorted(
        {*(size for size in BATCHES if size <= fits), *([fits] if fits >= 1 else []), batch}
    )
    by_batch = [(size, priced(size, context, acceptance)) for size in sizes]
    lengths = [length for length in sorted({*CONTEXTS, context}) if room(length) > 0]
    by_context = [
        (length, priced(min(batch, room(length)), length, acceptance)) for length in lengths
    ]
    shares = [percent / 100 for percent in range(0, 101, 10)]
    by_acceptance = [(100 * share, priced(batch, context, share)) for share in shares]
    shown = [
        Table("A step of writing", ("what", "value"), answer),
        Table("Milliseconds of one step, by what they go to", ("what", "milliseconds"), spent),
    ]
    what = "dollars per million tokens written"
    for points, x_name, title, log_x, mark in (
        (by_batch, "conversations a GPU", f"{what}, by batch", True, batch),
        (
            by_context,
            "tokens of context; the batch, or as many as fit",
            f"{what}, by context",
            True,
            context,
        ),
        (
            by_acceptance,
            "per cent of drafts accepted",
            f"{what}, by acceptance, with drafts",
            False,
            None if acceptance is None else 100 * acceptance,
        ),
    ):
        if not points:
            continue
        ends = ", ".join(
            f"{dollars(pair[0], 3)} to {dollars(pair[1], 3)} at {plain(x)}"
            for x, pair in (points[0], points[-1])
        )
        shown.append(
            Figure(
                lines(curves(points), x_name, what, log_x, log_x, mark),
                f"Lines of {title}, bound and sum: {ends}.",
                f"{capitalised(title)}: bound and sum. The upright line is the value above.",
                table(capitalised(title), x_name, points),
            )
        )
    return Result(summary, shown)


GPU_OPTIONS = {name: name.upper() for name in GPUS}
USABLE = Field(
    "usable",
    "Memory for weights and caches",
    typed(100 * USABLE_MEMORY.central),
    "% of each GPU",
    over=100,
)
DRAWS = (Field("n_draws", "Draws", "10000"), Field("seed", "Seed of the draws", "0"))
REPORTED = fact("isca.mfu_causal.mpft").value
PRICE = ("1.5", typed(fact("train.rate").value), "4")

CALCULATORS = {
    one.key: one
    for one in (
        Calculator(
            "model-bill",
            (
                replace(MODEL, options=NAMES | {PASTED: "the one pasted below"}),
                Field("config.json", "Its config.json, to read, change or replace", "", rows=8),
                Field("context_length", "Context", "4096", "tokens"),
                Field("batch", "Conversations at a time", "1"),
                Field(
                    "bytes_per_element",
                    "A number of the cache",
                    "2",
                    "bytes; 2 is BF16, 1 is FP8, 0.75 six bits",
                ),
                USABLE,
            ),
            model_bill,
            {},
        ),
        Calculator(
            "training-run",
            (
                MODEL,
                *ranged(
                    "tokens",
                    "Tokens read, trillion",
                    ("14.8", "14.8", "14.8"),
                    "",
                    "the report's number, taken as known",
                    times=1e12,
                ),
                Field("context_length", "Length of a sequence", "4096", "tokens"),
                Field("gpu", "GPU", "h800", options=GPU_OPTIONS),
                Field(
                    "precision", "Peak counted in", "bf16", options={"bf16": "BF16", "fp8": "FP8"}
                ),
                *ranged(
                    "utilisation",
                    "Utilisation, % of the dense peak",
                    ("25", typed(REPORTED), "43"),
                    "",
                    "central: reported for V3; low: about V2's, same GPUs; high: the best reported for Llama 3.1",
                    over=100,
                ),
                Field("n_gpus", "GPUs", typed(fact("train.cluster").value)),
                *ranged(
                    "usd_per_gpu_hour",
                    "Rent, dollars per GPU-hour",
                    PRICE,
                    "",
                    "central: the report's assumption; low and high: the ends in What everything costs",
                ),
                Field(
                    "other_gpu_hours",
                    "Other stages",
                    typed(
                        (fact("train.hours_context").value + fact("train.hours_post").value) / 1e3
                    ),
                    "thousand GPU-hours",
                    times=1e3,
                ),
                *DRAWS,
            ),
            training_run,
            {},
        ),
        Calculator(
            "whole-cost",
            (
                Field(
                    "definition",
                    "Definition that is drawn in full",
                    "development",
                    options=DEFINITIONS,
                ),
                replace(DRAWS[0], default="20000"),  # as the chapter draws
                DRAWS[1],
                Field("correlation", "Correlation of rent and server price", "0.5", "0 to 1"),
                *input_fields(),
            ),
            whole_cost,
            {"output": "definition"},
        ),
        Calculator(
            "token-cost",
            (
                MODEL,
                Field("gpu", "GPU", "h800", options=GPU_OPTIONS),
                Field(
                    "n_gpus",
                    "GPUs that hold one copy together",
                    typed(fact("infer.decode.ep").value),
                ),
                Field("bytes_per_weight", "Weights", "1", options={"1": "FP8", "2": "BF16"}),
                Field(
                    "redundant_experts",
                    "Second copies of experts, a layer",
                    typed(fact("infer.decode.redundant").value),
                ),
                Field("attention_split", "GPUs that share attention's heads", "1"),
                Field("batch", "Conversations a GPU", "64"),
                Field(
                    "context_length",
                    "Context of each",
                    typed(fact("infer.kv_length").value),
                    "tokens",
                ),
                Field("acceptance", "Drafts accepted", "", "%; empty: no drafts", over=100),
                Field(
                    "usd_per_gpu_hour",
                    "Rent",
                    typed(fact("infer.rate").value),
                    "dollars per GPU-hour",
                ),
                USABLE,
            ),
            token_cost,
            {},
        ),
    )
}


def parse(state: str) -> tuple[Calculator, dict]:
    """`training-run&tokens.central=20` -> the calculator and what is typed. Raises ValueError for an unknown name."""
    key, *pairs = state.split("&")
    if key not in CALCULATORS:
        raise ValueError(f"{key}: expected one of {', '.join(CALCULATORS)}")
    typed = dict(pair.partition("=")[::2] for pair in pairs)
    for name in typed:
        CALCULATORS[key].field(name)
    return CALCULATORS[key], typed


def answer(key: str, typed: dict, draws: float = math.inf) -> dict:
    """What the page shows for what was typed: the result, or the message and the field at which it belongs."""
    calculator = CALCULATORS[key]
    try:
        values = calculator.values(typed)
        result = calculator.compute(values, draws)
    except ValueError as error:
        return {"message": str(error), "field": field_of(calculator, typed, str(error))}
    tables = [
        {"title": table.title, "header": list(table.header), "rows": table.values()}
        for table in result.tables()
    ]
    return {
        "html": result.html(),
        "summary": result.summary,
        "tables": tables,
        "inputs": values,
        "draws": result.draws,
        "more": result.draws > 0 and result.draws < values["n_draws"],
    }


def field_of(calculator: Calculator, typed: dict, message: str) -> str:
    """The field that a message names; a pasted config.json takes the names that are its own."""
    name = message.partition(":")[0]
    name = calculator.aliases.get(name, name)
    for field in reversed(calculator.fields):  # of low, central and high the last
        if field.name == name or field.name.startswith(f"{name}."):
            return field.name
    return "config.json" if typed.get("configuration") == PASTED else ""


def by_part(calculator: Calculator):
    """[(part, [(group, [fields])])], in order."""
    for part, of_part in groupby(calculator.fields, key=lambda field: field.part):
        yield (
            part,
            [
                (group, list(fields))
                for group, fields in groupby(of_part, key=lambda field: field.group)
            ],
        )


if __name__ == "__main__":
    import sys

    chosen, given = parse(sys.argv[1] if len(sys.argv) == 2 else "")
    reply = answer(chosen.key, given)
    if "message" in reply:
        sys.exit(reply["message"])
    print(json.dumps({name: reply[name] for name in ("summary", "inputs", "tables")}, indent=2))
