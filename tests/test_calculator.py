"""The calculators in CPython: what they show is what the modules say, and bad input lands at its field."""

import re
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from deepseek_explained import budget, facts, serving_cost, total_cost, training_cost
from deepseek_explained.config import published_config

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "tools")]

import book_calculator  # noqa: E402
import calculators  # noqa: E402
import check_site  # noqa: E402

V3 = budget.ModelSpec.from_config(published_config("deepseek-v3"))


def rows(key, title, **typed):
    """{first cell: the others} of the table whose title begins so."""
    reply = calculators.answer(key, {name.replace("__", "."): text for name, text in typed.items()})
    table = next(table for table in reply["tables"] if table["title"].startswith(title))
    return {first: rest for first, *rest in table["rows"]}


def test_the_bill_is_that_of_the_module():
    bill = budget.bill(V3, 131_072)
    parts = rows("model-bill", "Parameters", context_length="131,072")
    assert parts["all"] == [bill["parameters"]["total"], bill["parameters"]["activated"]]
    assert parts["routed experts"][0] == bill["parameters"]["by_component"]["routed_experts"]
    work = rows("model-bill", "Work", context_length="131072", batch="3", bytes_per_element="0.75")
    assert work["forward pass, GFLOP a token"] == [bill["forward_flops_per_token"]]
    cache = budget.kv_cache_bytes_per_token(V3, 0.75)
    assert work["cache of all conversations (3), GB"] == [cache * 131_072 * 3]
    h20 = rows("model-bill", "GPUs", usable="100")["H20, 96 GB"]
    assert h20[2] == serving_cost.smallest_nodes(V3, "fp8", 96e9) == 1


def test_a_run_without_ranges_is_the_chapters_run():
    sure = {"utilisation__low": "38.94", "utilisation__high": "38.94"}
    sure |= {"usd_per_gpu_hour__low": "2", "usd_per_gpu_hour__high": "2"}
    run = training_cost.TrainingRun(
        V3, 14.8e12, 4096, training_cost.dense_peak("h800"), 0.3894, 2048, 2
    )
    hours = run.gpu_hours + 124e3
    found = rows("training-run", "The run", **sure)
    assert found["GPU-hours, thousand"] == pytest.approx([hours] * 4, rel=1e-12)
    assert found["dollars, million"] == pytest.approx([2 * hours] * 4, rel=1e-12)
    assert found["days"] == pytest.approx([hours / 2048 / 24] * 4, rel=1e-12)


def test_a_range_holds_what_is_drawn_from_it():
    low, median, high = rows("training-run", "The run")["dollars, million"][1:]
    steps = rows("training-run", "Step by step")
    cheap, dear = (steps[f"all at the {end} end, million dollars"][0] for end in ("cheap", "dear"))
    assert cheap < low < median < high < dear


def test_the_ladder_is_the_chapters_simulation():
    draws = total_cost.simulate(n_draws=2_000, seed=5)
    found = rows("whole-cost", "The ladder", n_draws="2000", seed="5")
    for name, text in total_cost.DEFINITIONS.items():
        assert found[text] == draws.percentiles(name)
    swings = total_cost.tornado("fleet")
    shown = rows("whole-cost", "One input at a time", definition="fleet", n_draws="10")
    assert list(shown) == [calculators.LABELS[swing.name] for swing in swings]
    assert calculators.LABELS["v31_hours"] == "V3.1's hours"
    assert [row[:2] for row in shown.values()] == [[swing.low, swing.high] for swing in swings]


def test_every_assumption_is_a_control_and_the_default_is_the_books():
    calculator = calculators.CALCULATORS["whole-cost"]
    assert calculators.chosen_inputs(calculator.values({})) == total_cost.INPUTS
    changed = calculators.chosen_inputs(calculator.values({"rent.high": "5"}))
    assert changed["rent"].high == 5
    assert {**changed, "rent": total_cost.INPUTS["rent"]} == total_cost.INPUTS


def test_a_token_is_that_of_the_module():
    unit = serving_cost.Unit(V3, 144, redundant_experts=32)
    for acceptance in (None, 0.85):
        step = serving_cost.decode_step(unit, 32, 4989, acceptance)
        typed = {} if acceptance is None else {"acceptance": "85"}
        found = rows("token-cost", "A step", batch="32", **typed)
        assert found["dollars per million tokens written, bound"] == [step.usd_per_million(2)]
        assert found["dollars per million tokens written, sum"] == [step.usd_per_million(2, False)]


@pytest.mark.parametrize(
    ("key", "name", "text", "words"),
    [
        (
            "training-run",
            "utilisation.central",
            "0",
            "expected a share above 0 and at most 1, got 0",
        ),
        ("training-run", "utilisation.high", "101", "expected a share"),
        ("training-run", "tokens.high", "1", "expected at least central"),
        ("training-run", "n_draws", "0", "expected a whole number from 1"),
        ("whole-cost", "n_draws", "200001", "expected at most 200,000, got 200,001"),
        ("training-run", "other_gpu_hours", "-1", "expected a finite number, 0 or more"),
        ("whole-cost", "rent.high", "1", "expected at least low"),
        ("whole-cost", "occupancy.high", "1.2", "expected values up to 1"),
        ("whole-cost", "definition", "all", "expected one of run, runs"),
        ("token-cost", "n_gpus", "12", "expected at most 8 or whole nodes, got 12"),
        ("token-cost", "batch", "x", "expected a finite number above zero, got 'x'"),
        ("token-cost", "acceptance", "120", "expected a finite number, 0 to 1"),
        ("model-bill", "context_length", "1.5", "expected a whole number from 1"),
        ("model-bill", "usable", "0", "expected a share"),
        ("model-bill", "configuration", "gpt", "expected one of deepseek-llm-67b"),
    ],
)
def test_bad_input_is_refused_by_the_module_at_its_field(key, name, text, words):
    reply = calculators.answer(key, {name: text})
    assert reply["field"].startswith(name.partition(".")[0])
    assert reply["field"] in {field.name for field in calculators.CALCULATORS[key].fields}
    assert words in reply["message"]
    assert "html" not in reply


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "config.json: expected JSON, the content of a config.json"),
        ("[1]", "model_type: expected the content of a config.json, an object, got [1]"),
        ('{"model_type": "llama"}', "num_hidden_layers: missing"),
    ],
)
def test_a_pasted_config_is_refused_where_it_was_pasted(text, message):
    reply = calculators.answer("model-bill", {"configuration": "pasted", "config.json": text})
    assert reply == {"message": message, "field": "config.json"}


def test_the_address_is_read_strictly():
    calculator, typed = calculators.parse("token-cost&batch=3")
    assert (calculator.key, typed) == ("token-cost", {"batch": "3"})
    for state in ("tokens", "token-cost&batches=3"):
        with pytest.raises(ValueError, match="expected one of"):
            calculators.parse(state)


def test_the_page_gets_every_figure_that_the_modules_ask_for(monkeypatch):
    """All calculations again with the part of the ledger that is inlined; a figure outside it raises."""
    texts = book_calculator.sources()
    names = set().union(*(book_calculator.named_ids(text) for text in texts.values()))
    assert 50 < len(names) < 200
    part = {name: facts.fact(name) for name in names}
    monkeypatch.setattr(facts, "ledger", lambda: part)
    with pytest.raises(ValueError, match="no such figure"):
        facts.fact("v3.total_pub")
    for key in calculators.CALCULATORS:
        assert "html" in calculators.answer(key, {}, draws=10)
    for chip in calculators.GPU_OPTIONS:
        assert "html" in calculators.answer("token-cost", {"gpu": chip})
        assert "html" in calculators.answer("training-run", {"gpu": chip, "precision": "fp8"}, 10)


def test_the_inlined_modules_are_the_books_own():
    texts = book_calculator.sources()
    for name in book_calculator.MODULES:
        path = ROOT / "deepseek_explained" / f"{name}.py"
        assert texts[f"deepseek_explained.{name}"] == path.read_text(encoding="utf-8")


def stand_ins():
    """The page's `decimal` and `tomllib`."""
    found = {}
    for name in ("decimal", "tomllib"):
        found[name] = {}
        path = book_calculator.SOURCES / "stand_ins" / f"{name}.py"
        exec(path.read_text(encoding="utf-8"), found[name])
    return SimpleNamespace(**{name: SimpleNamespace(**found[name]) for name in found})


def test_the_page_reads_the_ledgers_numbers_as_they_are():
    page = stand_ins()
    text = book_calculator.part_of_ledger(set(facts.ledger()))
    tables = page.tomllib.loads(text, parse_float=page.decimal.Decimal)
    assert tables.keys() == facts.ledger().keys()
    for name, figure in facts.ledger().items():
        value = tables[name]["value"]
        ends = value if isinstance(value, list) else [value, value]
        read = [float(page.decimal.Decimal(end) * figure.scale) for end in ends]
        assert read == [float(end * figure.scale) for end in (figure.low, figure.high)], name


def test_the_form_has_a_label_and_a_place_for_a_message_for_every_control():
    for calculator in calculators.CALCULATORS.values():
        text = book_calculator.form(calculator)
        for field in calculator.fields:
            name = f"{calculator.key}--{field.name}"
            assert f'<label for="{name}">' in text
            assert text.count(f'id="{name}"') == 1
            assert f'id="{name}--message"' in text


def test_tables_and_figures_are_safe_and_described():
    table = calculators.Table("<b>", ("a & b",), [("<i>", calculators.Cell(1.5, "1.5 > 1"))])
    assert "<b>" not in table.html() and "&lt;i&gt;" in table.html()
    for key in calculators.CALCULATORS:
        for part in calculators.answer(key, {}, 100)["html"].split("<svg ")[1:]:
            assert len(part.partition('aria-label="')[2].partition('"')[0]) > 40


def build(folder, link):
    """(the page's links, the warnings) of a tiny book that links to a calculator, and the faults of its site."""
    (folder / "book").mkdir()
    (folder / "book" / "calculator.md").write_text(
        "# Calculators\n\n(token-cost)=\n## A token\n\n```{calculator} token-cost\n```\n"
        + "Words. " * 40
    )
    text = f"# A book\n\n[Try it](book/calculator.md#{link}). " + "Words. " * 40
    (folder / "index.md").write_text(text + "\n\n```{toctree}\nbook/calculator\n```\n")
    (folder / "_toc.yml").write_text(
        "root: index\nparts:\n- chapters:\n  - file: book/calculator\n"
    )
    warnings = StringIO()
    # The suffix too: MyST-NB changes Sphinx's default for every build that follows in the same process.
    config = {
        "extensions": ["myst_parser", "book_calculator"],
        "source_suffix": {".md": "markdown"},
    }
    with docutils_namespace():
        Sphinx(
            folder,
            *(None, folder / "out", folder / "trees", "html"),
            config | {"html_theme": "basic", "html_static_path": [str(ROOT / "book" / "_static")]},
            status=None,
            warning=warnings,
        ).build()
    faults, _ = check_site.check(folder / "out", folder / "_toc.yml")
    page = (folder / "out" / "index.html").read_text(encoding="utf-8")
    return re.findall(r'href="(book/calculator.html#[^"]+)"', page), warnings.getvalue(), faults


def test_a_link_opens_a_calculation(tmp_path):
    pytest.importorskip("brython")
    links, warnings, faults = build(tmp_path, "token-cost&batch=3&n_gpus=16")
    assert "book/calculator.html#token-cost&amp;batch=3&amp;n_gpus=16" in links
    assert warnings == ""
    assert [fault for fault in faults if "calculator.html" in fault and "leads" in fault] == []
    assert not any("no such anchor" in fault for fault in faults)
    text = (tmp_path / "out" / "book" / "calculator.html").read_text(encoding="utf-8")
    assert calculators.answer("token-cost", {})["html"] in text
    assert "calculator.js" in text
    assert "calculator.js" not in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    (tmp_path / "out" / "index.html").write_text(
        '<a href="book/calculator.html#no-such-cost&amp;batch=3">x</a>'
    )
    faults, _ = check_site.check(tmp_path / "out", tmp_path / "_toc.yml")
    assert any("no such anchor" in fault for fault in faults)


@pytest.mark.parametrize(
    ("link", "message"),
    [
        ("token-cost&n_gpus=12", "n_gpus: expected at most 8 or whole nodes, got 12"),
        ("token-cost&gpus=8", "gpus: expected one of"),
    ],
)
def test_a_link_with_inputs_that_are_refused_is_a_warning(tmp_path, link, message):
    pytest.importorskip("brython")
    assert message in build(tmp_path, link)[1]


def test_the_engine_needs_nothing_from_outside():
    pytest.importorskip("brython")
    text = book_calculator.engine()
    assert "deepseek_explained.total_cost" in text
    assert "def pairwise" in text
