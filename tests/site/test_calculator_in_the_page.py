"""The calculators in a browser: every control set, and what the page shows and hands out compared with CPython."""

import json
import math
import os
import shutil
import sys
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "book" / "_calculator")]

pytest.importorskip("brython", reason="brython is not installed: pip install -r requirements.txt")
playwright = pytest.importorskip(
    "playwright.sync_api",
    reason="playwright is not installed, so no browser can be driven: pip install playwright",
)

import calculators  # noqa: E402

FLAGS = "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
FLAGS += " --disable-component-update --disable-sync"
SECONDS = 90_000  # milliseconds that a calculation may take on a busy machine

# For every control of every calculator a value that is not its default, all accepted together.
CHANGED = {
    "model-bill": {
        "configuration": "llama-3.1-70b",
        "context_length": "32,768",
        "batch": "16",
        "bytes_per_element": "0.75",
        "usable": "85.5",
    },
    "training-run": {
        "configuration": "kimi-k2",
        "tokens.low": "14",
        "tokens.central": "15.5",
        "tokens.high": "16",
        "context_length": "8192",
        "gpu": "h20",
        "precision": "fp8",
        "utilisation.low": "20.5",
        "utilisation.central": "33.3",
        "utilisation.high": "50",
        "n_gpus": "4096",
        "usd_per_gpu_hour.low": "0.9",
        "usd_per_gpu_hour.central": "1.1",
        "usd_per_gpu_hour.high": "3",
        "other_gpu_hours": "77.7",
        "n_draws": "1500",
        "seed": "7",
    },
    "whole-cost": {"definition": "fleet", "n_draws": "1200", "seed": "3", "correlation": "0.25"},
    "token-cost": {
        "configuration": "qwen3-235b-a22b",
        "gpu": "b200",
        "n_gpus": "16",
        "bytes_per_weight": "2",
        "redundant_experts": "0",
        "attention_split": "4",
        "batch": "24",
        "context_length": "10000",
        "acceptance": "72.5",
        "usd_per_gpu_hour": "5.5",
        "usable": "80",
    },
}
for field in calculators.CALCULATORS["whole-cost"].fields:
    if (
        field.exact is not None
    ):  # every assumption three per cent up, which keeps low <= central <= high
        CHANGED["whole-cost"][field.name] = repr(round(1.03 * field.exact, 6))


# As the book's theme begins a page; what is shown only where scripts run goes by it.
FIRST_SCRIPT = '<head><script>document.documentElement.dataset.mode = "auto";</script>'


@pytest.fixture(scope="module")
def page_file(tmp_path_factory):
    """The calculators' page alone, built by Sphinx as the book builds it."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "book").mkdir()
    shutil.copy(ROOT / "book" / "calculator.md", folder / "book")
    (folder / "index.md").write_text("# Book\n\n```{toctree}\nbook/calculator\n```\n")
    config = {
        "extensions": ["myst_parser", "book_calculator"],
        "html_theme": "basic",
        "html_static_path": [str(ROOT / "book" / "_static")],
        "suppress_warnings": ["myst.xref_missing"],
    }
    out = folder / "out"
    with docutils_namespace():
        Sphinx(
            folder, None, out, folder / "trees", "html", config, status=None, warning=StringIO()
        ).build()
    page = out / "book" / "calculator.html"
    text = page.read_text(encoding="utf-8")
    assert text.count("<head>") == 1
    page.write_text(text.replace("<head>", FIRST_SCRIPT), encoding="utf-8")
    return page


@pytest.fixture(scope="module")
def browser():
    paths = [os.environ.get("CHROMIUM", ""), "/usr/bin/chromium", "/usr/bin/google-chrome"]
    found = next((path for path in paths if path and Path(path).exists()), None)
    if found is None:
        pytest.skip("no browser found: install Chromium (on Debian: apt install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=FLAGS.split())
        yield browser
        browser.close()


def opened(browser, address):
    """The page as a local file, at a phone's width, and what it complained about or asked for elsewhere."""
    context = browser.new_context(viewport={"width": 360, "height": 740}, accept_downloads=True)
    page, problems = context.new_page(), []
    page.set_default_timeout(SECONDS)
    page.on(
        "console",
        lambda m: problems.append(m.text) if m.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on(
        "request",
        lambda r: None if r.url.startswith(("file:", "blob:")) else problems.append(r.url),
    )
    page.goto(address)
    return page, problems


@pytest.fixture(scope="module")
def shared(browser, page_file):
    """One page for all tests that may find it in any state: Python is loaded once."""
    page, problems = opened(browser, page_file.as_uri())
    yield page, problems
    page.context.close()


@pytest.fixture
def page(shared):
    page, problems = shared
    yield page
    assert problems == []


@pytest.fixture
def fresh(browser, page_file):
    page, problems = opened(browser, page_file.as_uri())
    yield page
    page.context.close()
    assert problems == []


def root(page, key):
    return page.locator(f'.calculator[data-calculator="{key}"]')


def control(page, key, name):
    return page.locator(f'[id="{key}--{name}"]')


def finished(page, key):
    """Wait until nothing more is on its way."""
    page.wait_for_selector(f'.calculator[data-calculator="{key}"][aria-busy="false"]')


def fill(page, key, name, value):
    field = calculators.CALCULATORS[key].field(name)
    if field.part:
        page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    if field.options:
        control(page, key, name).select_option(value)
    else:
        control(page, key, name).fill(value)


def downloaded(page, key):
    with page.expect_download() as download:
        root(page, key).get_by_role("button", name="Download JSON").click()
    return json.loads(Path(download.value.path()).read_text(encoding="utf-8"))


def assert_same(ours, theirs, where=""):
    """Texts the same, numbers the same to twelve digits."""
    if isinstance(ours, list):
        assert len(ours) == len(theirs), where
        for number, pair in enumerate(zip(ours, theirs, strict=True)):
            assert_same(*pair, f"{where}/{number}")
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys(), where
        for name in ours:
            assert_same(ours[name], theirs[name], f"{where}/{name}")
    elif isinstance(ours, int | float):
        assert math.isclose(ours, theirs, rel_tol=1e-12), (where, ours, theirs)
    else:
        assert ours == theirs, where


def as_the_browser_writes(page, html):
    """HTML as the browser writes it back: the same quotes and entities on both sides."""
    return page.evaluate(
        "(text) => { const box = document.createElement('div'); box.innerHTML = text; return box.innerHTML; }",
        html,
    )


def assert_shown(page, key, typed):
    """What stands on the page is what CPython makes of the same inputs."""
    theirs = calculators.answer(key, typed)
    assert "message" not in theirs, theirs
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    shown = root(page, key).locator(".calculator-result").inner_html()
    assert shown == as_the_browser_writes(page, theirs["html"])
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert_same(
        {"calculator": key, **{name: theirs[name] for name in ("inputs", "summary", "tables")}},
        downloaded(page, key),
    )


def test_the_changes_name_every_control():
    for key, calculator in calculators.CALCULATORS.items():
        left = {field.name for field in calculator.fields} - set(CHANGED[key])
        assert left <= {"config.json"}
        for name, value in CHANGED[key].items():
            assert value != calculator.field(name).default, (key, name)


def few(key):
    """Few draws where there are draws: what is compared is each of them."""
    return {"n_draws": "200"} if "n_draws" in CHANGED[key] else {}


def open_state(page, key, typed):
    """Open a calculation by its address."""
    state = "&".join([key, *(f"{name}={quote(value)}" for name, value in typed.items()), ""])
    page.evaluate(
        "(state) => new Promise((done) => { addEventListener('hashchange', done, { once: true });"
        " history.replaceState(null, '', '#'); location.hash = state; })",
        state,
    )
    finished(page, key)


@pytest.mark.parametrize("key", CHANGED)
def test_all_controls_changed_together_give_what_cpython_gives(page, key):
    open_state(page, key, few(key))
    assert_shown(page, key, few(key))
    for name, value in CHANGED[key].items():
        fill(page, key, name, value)
    finished(page, key)
    assert_shown(page, key, CHANGED[key])


@pytest.mark.parametrize("key", CHANGED)
def test_each_control_moves_alone(page, key):
    """Set by the address, one control after the other; a combination that the module refuses is refused alike."""
    for name, value in CHANGED[key].items():
        typed = few(key) | {name: value}
        open_state(page, key, typed)
        theirs = calculators.answer(key, typed)
        if "message" in theirs:
            message = page.locator(f'[id="{key}--{theirs["field"]}--message"]')
            assert message.inner_text() == theirs["message"]
        else:
            shown = root(page, key).locator(".calculator-summary").inner_text()
            assert shown == theirs["summary"], name


def test_the_defaults_come_back(page):
    open_state(page, "token-cost", {"batch": "3", "gpu": "h20"})
    root(page, "token-cost").get_by_role("button", name="Back to the defaults").click()
    finished(page, "token-cost")
    assert_shown(page, "token-cost", {})
    assert page.url.endswith("#token-cost")


def test_every_configuration(page):
    open_state(page, "model-bill", {})
    for name in calculators.NAMES:
        control(page, "model-bill", "configuration").select_option(name)
        finished(page, "model-bill")
        assert_shown(page, "model-bill", {"configuration": name})


def test_a_pasted_config_and_its_refusal(page):
    open_state(page, "model-bill", {})
    key, text = "model-bill", json.dumps({"model_type": "llama", "vocab_size": -1})
    fill(page, key, "config.json", text)
    finished(page, key)
    theirs = calculators.answer(key, {"configuration": "pasted", "config.json": text})
    box = control(page, key, "config.json")
    assert theirs["field"] == "config.json"
    assert box.get_attribute("aria-invalid") == "true"
    described = box.get_attribute("aria-describedby").split()[-1]
    assert page.locator(f'[id="{described}"]').inner_text() == theirs["message"]
    assert theirs["message"] in root(page, key).get_by_role("status").inner_text()
    whole = calculators.published_config("deepseek-v2-lite") | {"n_routed_experts": 32}
    fill(page, key, "config.json", json.dumps(whole))
    finished(page, key)
    assert box.get_attribute("aria-invalid") is None
    assert_shown(page, key, {"configuration": "pasted", "config.json": json.dumps(whole)})


def test_the_address_holds_a_calculation(fresh):
    page, key = fresh, "token-cost"
    fill(page, key, "batch", "24")
    fill(page, key, "acceptance", "85")
    finished(page, key)
    assert page.url.endswith("#token-cost&batch=24&acceptance=85")
    shown = root(page, key).locator(".calculator-result").inner_html()
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    finished(page, key)
    assert root(page, key).locator(".calculator-result").inner_html() == shown
    assert control(page, key, "batch").input_value() == "24"


def test_bad_input_is_told_at_its_field(page):
    for key, name, value in (
        ("training-run", "utilisation.high", "140"),
        ("training-run", "n_gpus", "many"),
        ("token-cost", "n_gpus", "12"),
        ("whole-cost", "rent.low", "9"),
        ("whole-cost", "correlation", "2"),
        ("model-bill", "context_length", "0"),
    ):
        open_state(page, key, few(key))
        fill(page, key, name, value)
        finished(page, key)
        theirs = calculators.answer(key, few(key) | {name: value})
        message = page.locator(f'[id="{key}--{theirs["field"]}--message"]')
        assert message.inner_text() == theirs["message"], name
        invalid = root(page, key).locator('[aria-invalid="true"]')
        assert invalid.get_attribute("name") == theirs["field"]
        open_state(page, key, few(key))
        assert root(page, key).locator("[aria-invalid]").count() == 0


def test_nothing_runs_off_a_phone(page):
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for key in CHANGED:
        width = root(page, key).evaluate("(one) => one.scrollWidth - one.clientWidth")
        assert width <= 0, key


def test_without_javascript_the_defaults_stand_there(browser, page_file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(page_file.as_uri())
    for key in calculators.CALCULATORS:
        assert root(page, key).locator("form").is_hidden()
        summary = root(page, key).locator(".calculator-summary").inner_text()
        assert summary == calculators.answer(key, {})["summary"]
    context.close()


def test_the_page_loads_python_only_when_it_is_touched(fresh):
    page = fresh
    loaded = "document.querySelectorAll('script[src$=\"calculator_engine.js\"]').length"
    assert page.evaluate(loaded) == 0
    control(page, "model-bill", "batch").focus()
    page.wait_for_function(f"{loaded} === 1")
