"""The book's Sphinx extensions, on a tiny book, and tools/check_site.py, on tiny sites."""

import io
import json
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
from sphinx.application import Sphinx
from sphinx.util.docutils import docutils_namespace

from deepseek_explained import facts

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "_ext"), str(ROOT / "tools")]

import book_cells  # noqa: E402
import book_site  # noqa: E402
import check_site  # noqa: E402

ENTRY = """
["{id}"]
value = {value}
unit = "{unit}"
counts = "all weights of the main model"
date = "2024-12"
source = "{source}"
locator = "abstract"
standing = "{standing}"
{more}
"""
LEDGER = "".join(
    ENTRY.format(**entry)
    for entry in (
        {"id": "v3.total_pub", "value": 671, "unit": "billion parameters", "source": "dsv3"}
        | {"standing": "read in the source", "more": "quote = 'with 671B *total* parameters'"},
        {"id": "g.size", "value": 137, "unit": "billion parameters", "source": "dsv3cfg"}
        | {"standing": "reported but not seen", "more": ""},
        {"id": "a.price", "value": "[1, 3]", "unit": "USD", "source": "our own choice"}
        | {"standing": "assumption", "more": "reason = 'offers of 2025'"},
    )
)
BIBLIOGRAPHY = """
@misc{dsv3, title={DeepSeek-V3 Technical Report}, author={{DeepSeek-AI}}, year={2024}, eprint={2412.19437}}
@misc{dsv3cfg, title={Inference configurations}, author={{DeepSeek-AI}}, year={2024}}
@misc{press, title={One two three four five}}
"""
CONFIG = {
    "extensions": [
        "myst_nb",
        "sphinxcontrib.bibtex",
        "book_site",
        "book_facts",
        "book_ledger",
        "book_scoreboard",
        "book_cells",
    ],
    "root_doc": "book/intro",
    "html_theme": "basic",
    "nb_execution_mode": "off",
    "nitpicky": True,
    "bibtex_bibfiles": ["book/references.bib"],
    "bibtex_default_style": "book",
    "bibtex_reference_style": "label",
    "myst_heading_anchors": 3,
    "mathjax_path": "mathjax/tex-chtml.js",
}
INTRO = """# A tiny book

This paragraph is the first of the page and long enough to describe it.

{text}

```{{toctree}}
ledger
../notebooks/budget
bibliography
```
"""


def notebook(*cells):
    """A notebook of (source, tags) code cells and Markdown strings."""
    book = nbformat.v4.new_notebook(metadata={"language_info": {"name": "python"}})
    for cell in cells:
        if isinstance(cell, str):
            book.cells.append(nbformat.v4.new_markdown_cell(cell))
        else:
            book.cells.append(nbformat.v4.new_code_cell(cell[0], metadata={"tags": cell[1]}))
    return nbformat.writes(book)


@pytest.fixture
def build(tmp_path, monkeypatch):
    """build(text, *cells) builds a tiny book and returns its pages and warnings."""

    def run(text="Text.", *cells):
        for folder in ("book", "notebooks"):
            (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / "ledger.toml").write_text(LEDGER, encoding="utf-8")
        monkeypatch.setattr(facts, "LEDGER_PATH", tmp_path / "ledger.toml")
        facts.ledger.cache_clear()
        (tmp_path / "book" / "references.bib").write_text(BIBLIOGRAPHY, encoding="utf-8")
        (tmp_path / "book" / "intro.md").write_text(INTRO.format(text=text), encoding="utf-8")
        (tmp_path / "book" / "ledger.md").write_text(
            "# The ledger\n\n```{ledger-table}\nv3: DeepSeek-V3\n```\n"
        )
        (tmp_path / "book" / "bibliography.md").write_text(
            "# Bibliography\n\n```{bibliography}\n```\n"
        )
        (tmp_path / "notebooks" / "budget.ipynb").write_text(
            notebook("# Budget", *cells), encoding="utf-8"
        )
        out, warnings = tmp_path / "_build" / "html", io.StringIO()
        with docutils_namespace():
            arguments = {
                "confdir": None,
                "outdir": out,
                "doctreedir": tmp_path / "_build" / "doctrees",
            }
            config = CONFIG | {"exclude_patterns": ["_build"]}
            app = Sphinx(
                tmp_path,
                buildername="html",
                confoverrides=config,
                status=None,
                warning=warnings,
                **arguments,
            )
            app.build()
        pages = {path.stem: path.read_text(encoding="utf-8") for path in out.rglob("*.html")}
        return SimpleNamespace(warnings=warnings.getvalue(), out=out, source=tmp_path, **pages)

    yield run
    facts.ledger.cache_clear()


def test_figures_in_the_text(build):
    site = build(
        "Roles: {fact}`v3.total_pub`; {fact-number}`v3.total_pub`; {fact}`g.size`; {fact}`a.price`. "
        "Link: [671 **billion**](ledger.md#v3.total_pub). {cite}`press`",
        "[671 billion](../book/ledger.md#v3.total_pub)",
    )
    assert site.warnings == ""
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", site.intro))
    assert "Roles: 671 billion parameters [DeepSeek-AI, 2024a]; 671; " in text
    assert (
        "137 billion parameters (reported, not seen by us) [DeepSeek-AI, 2024b]; 1 to 3 USD (assumed). "
        in text
    )
    assert "[One two three four …, n.d.]" in text
    tooltip = "671 billion parameters: all weights of the main model. DeepSeek-AI, 2024a, abstract, 2024-12. Read in"
    assert site.intro.count('href="ledger.html#v3.total_pub" title="' + tooltip) == 3
    assert f'href="../book/ledger.html#v3.total_pub" title="{tooltip}' in site.budget
    assert "DeepSeek-V3 Technical Report" in site.bibliography


def test_quotations_are_those_of_the_record(build, tmp_path):
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "quotations.toml").write_text(
        '[left-out]\ntext = "excluding <prior> research"\nsource = "dsv3"\nlocator = "section 1"\n'
        'date = "2024-12"\nstanding = "read in a copy or secondary source"\n',
        encoding="utf-8",
    )
    site = build("{quote}`v3.total_pub` and {quote}`left-out`. {cite}`press`")
    assert site.warnings == ""
    text = " ".join(re.sub(r"<[^>]+>", "", site.intro).split())
    assert "“with 671B *total* parameters” [DeepSeek-AI, 2024a], abstract and" in text
    assert (
        "“excluding &lt;prior&gt; research” [DeepSeek-AI, 2024a], section 1; read in a copy" in text
    )
    assert 'href="ledger.html#v3.total_pub"' in site.intro


def test_a_quotation_that_nobody_recorded_is_reported(build):
    assert "g.size: quote: this ledger entry quotes nothing" in build("{quote}`g.size`").warnings
    assert "hearsay: neither in the ledger" in build("{quote}`hearsay`").warnings


@pytest.mark.parametrize(
    "text", ["{fact}`v3.nope`", "{fact-number}`v3.nope`", "[671](ledger.md#v3.nope)"]
)
def test_unknown_id_is_reported_by_name(build, text):
    assert "v3.nope" in build(text).warnings


def test_unknown_id_in_a_notebook_is_reported_by_name(build):
    assert "v3.nope" in build("Text.", "[671](../book/ledger.md#v3.nope)").warnings


def test_ledger_page(build):
    site = build("{fact}`a.price`", "[671](../book/ledger.md#v3.total_pub)", ("fact('g.size')", []))
    assert site.warnings == ""
    entries = dict(
        re.findall(
            r'<div class="ledger-entry[^>]*id="([\w.]+)">(.*?)</div>', site.ledger, re.DOTALL
        )
    )
    assert list(entries) == ["v3.total_pub", "g.size", "a.price"]
    assert "<h2>DeepSeek-V3<" in site.ledger and "<h2>g<" in site.ledger
    assert "“with 671B *total* parameters”" in entries["v3.total_pub"]
    assert "DeepSeek-AI, 2024a" in entries["v3.total_pub"] and "Budget" in entries["v3.total_pub"]
    assert "Budget" in entries["g.size"] and "reported but not seen" in entries["g.size"]
    assert "A tiny book" in entries["a.price"] and "Why: offers of 2025" in entries["a.price"]
    assert "our own choice, abstract, 2024-12." in entries["a.price"]
    assert "ledger.js" in site.ledger and "ledger.js" not in site.intro


def test_ledger_page_follows_the_other_pages(build):
    assert "Used in" not in build("Text.").ledger
    assert "Used in" in build("{fact}`v3.total_pub`").ledger


def test_bad_ledger_is_reported(build, monkeypatch):
    monkeypatch.setitem(globals(), "LEDGER", LEDGER.replace('"assumption"', '"guess"'))
    assert "a.price: standing" in build("Text.").warnings


def test_code_cells(build):
    site = build(
        "Text.",
        ("#| default_exp budget", []),
        ("#| export\n\ndef count():\n    return 1  #| not a directive", []),
        ("print('folded')", ["hide-input"]),
        ("answer = 42", ["solution"]),
    )
    assert site.warnings == ""
    assert (
        "#| export" not in site.budget
        and "default_exp" not in site.budget
        and "#| not a directive" in site.budget
    )
    assert site.budget.count('<div class="cell docutils') == 1
    assert ">Show the code<" in site.budget and ">Show the solution<" in site.budget
    assert "aria-label" not in site.budget.split("<summary")[1].split(">")[0]
    assert "#| export" in (site.source / "notebooks" / "budget.ipynb").read_text(encoding="utf-8")


def test_run_cost(build):
    assert "not measured in this build" in build("{run-cost}`budget`").intro
    record = {
        "seconds": 42.31,
        "peak_bytes": 912_345_678,
        "cores": 2,
        "machine": "Linux x86_64",
        "python": "3.11",
    }
    folder = build("{run-cost}`budget`").source / "_build" / "executed"
    folder.mkdir()
    (folder / "budget.json").write_text(json.dumps(record | {"key": "k"}), encoding="utf-8")
    expected = "about 42 s and 0.9 GB of memory, measured when this page was built (2 cores, Linux x86_64, Python 3.11)"
    assert expected in build("{run-cost}`budget`").intro
    assert book_cells.describe_run(
        record | {"seconds": 4.25, "peak_bytes": 5e7, "cores": 1}
    ).startswith("about 4.2 s and 50 MB of memory, measured when this page was built (1 core,")


def test_front_page_and_weight(build):
    site = build()
    assert 'content="This paragraph is the first of the page' in site.intro
    assert 'href="book/ledger.html"' in site.index and 'href="notebooks/budget.html"' in site.index
    assert 'src="_static/' in site.index and "../" not in re.sub(
        r"<script>.*?</script>", "", site.index
    )
    assert (site.out / "_static" / "mathjax" / "tex-chtml.js").is_file()
    assert (
        sum(path.stat().st_size for path in (site.out / "_static" / "mathjax").rglob("*")) < 2.5e6
    )
    assert not list(site.out.rglob("*.map"))


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("", set()),
        ("https://github.com/o/n", {"binderhub_url", "colab_url"}),
        ("https://gitlab.com/o/n", {"binderhub_url"}),
    ],
)
def test_buttons_need_an_address(address, shown):
    config = SimpleNamespace(html_theme_options={"repository_url": address})
    book_site.add_buttons(None, config)
    assert config.html_theme_options["use_repository_button"] is bool(address)
    assert set(config.html_theme_options["launch_buttons"]) - {"notebook_interface"} == shown


FILLER = "Words that fill the page. " * 12
GOOD = f"<article><h1 id='top'>Title</h1><p>{FILLER}</p><a href='page.html#part'>x</a></article>"
PICTURE = "A line that falls from the left to the right, by half in ten steps."


@pytest.fixture
def faults(tmp_path):
    """faults(body) checks a site of two pages, one with that body, and returns the faults."""

    def run(body="", toc="format: jb-book\nroot: index\nchapters:\n- file: page\n"):
        (tmp_path / "_toc.yml").write_text(toc, encoding="utf-8")
        site = tmp_path / "html"
        (site / "_static").mkdir(parents=True)
        (site / "_static" / "here.png").write_text("x", encoding="utf-8")
        (site / "index.html").write_text(GOOD, encoding="utf-8")
        (site / "page.html").write_text(
            f"<article><h2 id='part'>Part</h2><p>{FILLER}</p>{body}</article>"
        )
        return check_site.check(site, tmp_path / "_toc.yml")[0]

    return run


@pytest.mark.parametrize(
    "body",
    [
        "<a href='index.html#top'>ok</a> <a href='https://example.org/x'>elsewhere</a> <a href='#part'>here</a>",
        f"<img src='_static/here.png' alt='{PICTURE}'><svg role='img' aria-label='{PICTURE}'></svg><svg></svg>",
        "<pre>print(f'{cite}`x`')\nx = 1  # | no line of nbdev</pre><p>A set {a, b} and $5 to $6</p>",
    ],
)
def test_sound_site(faults, body):
    assert faults(body) == []


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<a href='gone.html'>x</a>", "gone.html leads nowhere"),
        ("<a href='/page.html'>x</a>", "/page.html leads nowhere"),
        ("<a href='index.html#gone'>x</a>", "no such anchor"),
        ("<a href='#gone'>x</a>", "no such anchor"),
        (f"<img src='gone.png' alt='{PICTURE}'>", "gone.png leads nowhere"),
        ("<img src='_static/here.png'>", "no real description"),
        (
            "<img src='_static/here.png' alt='a4f0_a_long_file_name_that_a_tool_made_up_itself.png'>",
            "no real description",
        ),
        ("<svg role='img' aria-label='A line'></svg>", "no real description"),
        ("<script src='https://cdn.example.org/x.js'></script>", "from elsewhere"),
        ("<script src='//cdn.example.org/x.js'></script>", "from elsewhere"),
        ("<link rel='stylesheet' href='https://example.org/x.css'>", "from elsewhere"),
        ("<style>p { background: url(https://example.org/x.png) }</style>", "from elsewhere"),
        ("<p style='background: url(//example.org/x.png)'>x</p>", "from elsewhere"),
        ("<p>```{note}</p>", "raw markup"),
        ("<p>see {cite}`dsv3`</p>", "raw markup"),
        ("<p>see {cite}<code>dsv3</code></p>", "raw markup"),
        ("<pre><span>#| export</span>\nx = 1</pre>", "raw markup"),
        ("<p id='a'>x</p><p id='a'>y</p>", "id a stands twice"),
    ],
)
def test_each_fault_is_found(faults, body, expected):
    assert any(expected in fault for fault in faults(body))


def test_missing_and_empty_pages_are_found(faults, tmp_path, capsys):
    toc = "format: jb-book\nroot: index\nparts:\n- chapters:\n  - file: page\n  - file: notebooks/gone\n"
    assert faults("", toc) == ["notebooks/gone.html: missing; _toc.yml names it"]
    (tmp_path / "html" / "page.html").write_text(
        "<article><h2 id='part'>Part</h2></article>", encoding="utf-8"
    )
    (tmp_path / "html" / "_static" / "x.css").write_text(
        "@import 'https://example.org/x.css';", encoding="utf-8"
    )
    assert check_site.main([str(tmp_path / "html"), "--toc", str(tmp_path / "_toc.yml")]) == 1
    printed = capsys.readouterr().out
    assert (
        "page.html: nearly empty" in printed and "x.css: loads" in printed and "3 faults" in printed
    )


def test_summary(faults, tmp_path, capsys):
    faults()
    assert check_site.main([str(tmp_path / "html"), "--toc", str(tmp_path / "_toc.yml")]) == 0
    assert capsys.readouterr().out == "site: 2 pages, 0.0 MB, no faults\n"
    assert check_site.main([str(tmp_path / "nowhere")]) == 1


@pytest.fixture
def board(tmp_path):
    """book/scoreboard.json of the tiny book, with one row."""

    def write(**row):
        (tmp_path / "book").mkdir(exist_ok=True)
        row = {
            "page": "notebooks/budget",
            "anchor": "derived-a1",
            "label": "all experts",
            "derived": 671.03e9,
            "verdict": "within rounding",
            "why": "",
            "lead": "",
            "same_source": False,
        } | row
        path = tmp_path / "book" / "scoreboard.json"
        where = {"page": "notebooks/budget", "anchor": "derived-b2"}
        figures = {row.pop("id", "v3.total_pub"): row}
        numbers = {"budget.most": where | {"text": "12 %"}}
        path.write_text(json.dumps({"figures": figures, "numbers": numbers}), encoding="utf-8")

    return write


SCOREBOARD = "```{scoreboard}\n```\n\nIn the text: {derived}`v3.total_pub`, {derived}`budget.most`."


def test_scoreboard_page_and_csv(build, board):
    board(why="a < b", lead="or c", same_source=True)
    site = build(SCOREBOARD)
    assert site.warnings == ""
    row = re.search(r'<tr id="score-v3.total_pub".*?</tr>', site.intro, re.DOTALL)[0]
    assert 'data-verdict="within rounding"' in row and ">671<" in row and "+0.00%" in row
    assert 'href="../notebooks/budget.html#derived-a1"' in row and "a &lt; b" in row
    assert "One reading that would fit: or c" in row and "Arithmetic within one source" in row
    assert "all experts" in row
    assert "<strong>1</strong> within rounding" in site.intro
    text = re.search(r"In the text: <a [^>]*>.*?</a>", site.intro)[0]
    assert "671 billion parameters" in text and "budget.html#derived-a1" in text
    number = re.search(r"<a [^>]*derived-b2[^>]*>.*?</a>", site.intro)[0]
    assert "12 %" in number
    csv = (site.out / "book" / "scoreboard.csv").read_text(encoding="utf-8").splitlines()
    assert csv[0].startswith("id,counts,published_low") and "671.03" in csv[1] and len(csv) == 2


def test_scoreboard_of_an_unknown_figure_is_reported(build, board):
    board(id="v3.nope")
    assert "v3.nope" in build("```{scoreboard}\n```").warnings


def test_a_derived_number_that_is_not_there_is_reported(build, board):
    board()
    assert "g.size: not on the scoreboard" in build("{derived}`g.size`").warnings
