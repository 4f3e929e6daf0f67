"""The book's Sphinx extensions, on a tiny book, and tools/check_site.py, on tiny sites."""

import base64
import gzip
import io
import json
import re
import subprocess
import sys
import tomllib
import zipfile
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
import book_delivery  # noqa: E402
import book_head  # noqa: E402
import book_scoreboard  # noqa: E402
import book_search  # noqa: E402
import book_site  # noqa: E402
import check_site  # noqa: E402
import contents  # noqa: E402

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
        "book_search",
    ],
    "root_doc": "book/intro",
    "html_theme": "basic",
    "nb_execution_mode": "off",
    "nitpicky": True,
    "bibtex_bibfiles": ["book/references.bib"],
    "bibtex_default_style": "book",
    "bibtex_reference_style": "label",
    "myst_heading_anchors": 3,
    "mathjax_path": "math.js",
    "html_static_path": [str(ROOT / "book" / "_static")],
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
    """build(text, *cells, **settings) builds a tiny book and returns its pages and warnings."""

    def run(text="Text.", *cells, **settings):
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
            config = CONFIG | {"exclude_patterns": ["_build"]} | settings
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
        return SimpleNamespace(
            app=app, warnings=warnings.getvalue(), out=out, source=tmp_path, **pages
        )

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


def test_reading_minutes():
    words = "word " * 1000
    cells = [
        {"cell_type": "markdown", "source": [f"[{words}](address)\n", "<details>\n", words]},
        {"cell_type": "code", "source": ["#| export\n"] + ["x = 1\n"] * 600, "metadata": {}},
        {"cell_type": "markdown", "source": ["</details>\n", words]},
        {"cell_type": "code", "source": "y = 1\n" * 300, "metadata": {"tags": ["hide-input"]}},
        {"cell_type": "code", "source": "y = 1\n" * 300, "metadata": {}},
        {"cell_type": "markdown", "source": f"## Exercises\n### 1. One (10 minutes)\n{words}"},
        {"cell_type": "markdown", "source": "### 2. Two (open, 45 minutes)"},
    ]
    # 1000 words are 5 minutes, 300 lines 5: open 2 x 5 + 5, folded 5 + 10 + 5
    assert book_cells.reading_minutes(cells) == (15, 20, 55)


def test_reading_minutes_elsewhere(build):
    cells = ["## Exercises\n\n### 1. One (10 minutes)\n\n## Further reading", "word " * 2000]
    site = build("Takes {reading}`budget` minutes.", *cells)
    assert "Takes 10; 10 minutes." in site.intro and site.warnings == ""


def test_chapter_head(build):
    (build().source / "_toc.yml").write_text(
        "root: book/intro\nparts: [{chapters: [{file: notebooks/before}, {file: notebooks/budget}]}]"
    )
    head = build("Text.", ("from deepseek_explained.facts import fact", [])).budget
    assert "Chapter 2 of 2." in head and "Builds on" not in head
    assert head.count("Reading: about 5 minutes") == 1
    assert 'href="../_sources/notebooks/budget.ipynb" download' in head


def test_search_sections(build):
    site = build(
        "Words with $W^{UK}$ in it.\n\n## Inner part\n\n```python\nrouter_bias = router_bias + 1\n```"
    )
    doctree = site.app.env.get_doctree("book/intro")
    rows = list(book_search.sections("book/intro", "A tiny book", doctree.children[0]))
    assert [row[2:4] for row in rows] == [["", "A tiny book"], ["inner-part", "Inner part"]]
    assert "W^{UK}" in rows[0][4] and rows[1][5] == "router_bias"
    ledger = site.app.env.get_doctree("book/ledger")
    rows = list(book_search.sections("book/ledger", "The ledger", ledger.children[0]))
    assert "v3.total_pub" in [row[2] for row in rows]
    search_page = (site.out / "search.html").read_text(encoding="utf-8")
    scripts = re.findall(r'src="_static/(\w+\.js)"', search_page)
    assert scripts[-3:] == ["unpack.js", "sections.js", "search.js"]
    assert "searchindex.js" not in scripts
    letters = (site.out / "_static" / "sections.js").read_text(encoding="utf-8").split('"')[1]
    packed = json.loads(gzip.decompress(base64.b64decode(letters)))
    assert ["intro", "inner-part"] in [[row[0].split("/")[-1], row[2]] for row in packed]
    # Sphinx warns when it builds some pages again and finds no index of the others.
    index = site.out / site.app.builder.searchindex_filename
    assert index.is_file() and not list(site.out.rglob("searchindex.js"))


def test_front_page_and_weight(build):
    site = build()
    assert 'content="This paragraph is the first of the page' in site.intro
    assert 'href="book/ledger.html"' in site.index and 'href="notebooks/budget.html"' in site.index
    assert 'src="_static/' in site.index and "../" not in re.sub(
        r"<script>.*?</script>", "", site.index
    )
    assert (site.out / "_static" / "mathjax" / "startup.js").is_file()
    assert (
        sum(path.stat().st_size for path in (site.out / "_static" / "mathjax").rglob("*")) < 1.2e6
    )
    assert not list(site.out.rglob("*.map"))
    assert "selftest.js" in site.budget and "selftest.js" not in site.intro


def test_the_project_as_one_file(build, tmp_path):
    site = build()
    target = site.out / "deepseek-explained.zip"
    assert 'href="../deepseek-explained.zip"' in site.budget
    with zipfile.ZipFile(target) as archive:
        names = archive.namelist()
    assert "deepseek-explained/notebooks/budget.ipynb" in names
    assert not any("_build" in name for name in names)
    first = target.read_bytes()
    book_site.pack(site.source, target)
    assert target.read_bytes() == first
    (site.source / "notes.txt").write_text("my own")
    subprocess.run(["git", "init", "-q", site.source], check=True)
    assert "notes.txt" in book_site.project_files(site.source)  # git keeps nothing here yet
    subprocess.run(["git", "-C", site.source, "add", "book"], check=True)
    kept = book_site.project_files(site.source)
    assert "book/intro.md" in kept and "notes.txt" not in kept
    tracked = book_site.project_files(ROOT)
    assert {"README.md", ".ci/run", "deepseek_explained/ledger.toml"} <= set(tracked)
    assert not any(name.startswith((".venv/", "_build/")) for name in tracked)


def sheet(tmp_path, words, **sheets):
    """The sheet made of those given, for a site of these words."""
    for name, css in sheets.items():
        path = tmp_path / name.replace("_", "/")
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".css").write_text(css, encoding="utf-8")
    names = [f"{name.replace('_', '/')}.css" for name in sheets]
    return book_delivery.merge(tmp_path, names[:1], set(words.split()))


@pytest.mark.parametrize(
    ("css", "kept"),
    [
        ("p { color: red } /* a comment */ div { color: blue }", "p{color: red}"),
        (".here.gone, .here > p { margin: 0 }", ".here > p{margin: 0}"),
        ("#gone { margin: 0 } #here { margin: 0 }", "#here{margin: 0}"),
        ("p:not(.gone)::before { content: 'x' }", 'p:not(.gone)::before{content: "x"}'),
        ("p:is(.gone, .here) { margin: 0 }", "p:is(.gone, .here){margin: 0}"),
        ("p:is(.gone) { margin: 0 }", ""),
        ("p[data-gone] { margin: 0 }", ""),
        ("@media print { .gone { margin: 0 } p { margin: 0 } }", "@media print{p{margin: 0}}"),
        ("@media print { .gone { margin: 0 } }", ""),
        ("@keyframes turn { to { rotate: 1turn } } p { color: red }", "p{color: red}"),
        ("p { --a: 1; --b: var(--c); --c: 2; width: var(--b) }", "--c: 2"),
        (r".w-1\/2 { width: 50% }", r".w-1\/2{width: 50%}"),
        ("p { background: url(a.png) }", "url(a.png)"),
    ],
)
def test_rules_that_can_match_are_kept(tmp_path, css, kept):
    result = sheet(tmp_path, "p here w-1/2", main=css)
    assert kept in result and bool(kept) == bool(result)
    assert "--a" not in result and "comment" not in result


def test_imported_sheets_and_their_addresses(tmp_path):
    result = sheet(
        tmp_path,
        "p",
        styles_main="@import '../other.css'; p { background: url(../a.png) }",
        other="p { color: red } i { color: blue }",
    )
    assert result == "p{color: red}p{background: url(a.png)}"


def test_what_scripts_make_counts_as_used():
    words = book_delivery.words_of(
        ['<p class="a w-1/2" style="color: var(--b)">no</p>'], ['x = "c-d"']
    )
    assert {"p", "a", "w-1/2", "--b", "c-d", "mjx-container"} <= words and "no" not in words


def test_a_broken_sheet_is_reported(tmp_path):
    with pytest.raises(ValueError, match="style sheet, line 1"):
        sheet(tmp_path, "p", main="p { color: red } }")


PYGMENTS = "".join(
    f'html[data-theme="{theme}"] .highlight {{ background: #000; color: #{base} }}\n'
    f'html[data-theme="{theme}"] .highlight .n {{ color: #{base} }} /* Name */\n'
    f'html[data-theme="{theme}"] .highlight .k {{ color: #{word} }}\n'
    f'html[data-theme="{theme}"] .highlight .kn {{ color: #{word} }}\n'
    f'html[data-theme="{theme}"] .highlight .s {{ color: #{text} }}\n'
    for theme, base, word, text in (("light", "111", "222", "333"), ("dark", "aaa", "bbb", "aaa"))
)


def test_code_of_one_colour_is_one_element():
    colours = book_delivery.code_colours(PYGMENTS)
    assert colours == {"n": None, "k": "k", "kn": "k", "s": "s", "o": None}
    code = (
        '<div class="highlight"><pre><span class="kn">import</span> <span class="k">as</span>'
        '<span class="n">x</span><span class="o">=</span><span class="s">"y"</span></pre></div>'
    )
    once = book_delivery.tidy(code, None, colours)
    assert (
        once
        == '<div class="highlight"><pre><span class="k">import as</span>x=<span class="s">"y"</span></pre></div>'
    )
    assert book_delivery.tidy(once, None, colours) == once


def test_names_of_code_break_after_underscores_in_tables_only():
    name = '<code><span class="pre">n_routed_experts</span></code>'
    once = book_delivery.tidy(f"<p>{name}</p><td><p>{name}</p></td>")
    assert once == f"<p>{name}</p><td><p>{name.replace('_', '_<wbr>')}</p></td>"
    assert book_delivery.tidy(once) == once


PAGE = """<html><head>
    <meta charset="utf-8" />
    <meta name="viewport" content="one" /><meta name="viewport" content="two" />
    <script>theme()</script>
    <noscript>
    <style>p { color: red }</style>
    </noscript>
    <link rel="preload" as="script" href="_static/a.js" />
    <link rel="next" title="Next" href="next.html" />
    <script src="_static/documentation_options.js?v=1"></script>
    <script>let one = 1</script>
    <script>window.MathJax = {"a": 1}</script>
    <script defer="defer" src="_static/math.js"></script>
    <script src="_static/searchtools.js"></script>
    <script src="_static/a.js"></script>
    <script async src="_static/b.js"></script>
</head><body><button onclick="window.print()">Print</button></body></html>"""


def test_a_page_is_tidied(tmp_path):
    (tmp_path / "documentation_options.js").write_text("const OPTIONS = {};", encoding="utf-8")
    page = book_delivery.tidy(PAGE, tmp_path)
    assert not {"noscript", "preload", "next.html"} & set(re.findall(r"[\w.]+", page))
    assert "searchtools" not in page
    assert '<script defer src="_static/a.js">' in page and "<script async" in page
    assert page.count("viewport") == 1 and "data-print" in page and "onclick" not in page
    assert "<script>theme();\nconst OPTIONS = {};\nlet one = 1;</script>" in page
    assert book_delivery.tidy(page, tmp_path) == page
    assert "athjax" not in page.lower() and "math.js" not in page
    formula = book_delivery.tidy(PAGE.replace("<body>", '<body><span class="math notranslate">'))
    assert "window.MathJax" in formula and "_static/math.js" in formula
    assert "searchtools" in book_delivery.tidy(PAGE.replace("<body>", '<div id="search-results">'))


def test_what_no_page_asks_for_goes(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("images/logo_colab.png", "images/logo_kaggle.svg", "startup.js.map"):
        (tmp_path / name).write_text("")
    book_delivery.remove_unused(tmp_path, '<img src="../_static/images/logo_colab.png">')
    assert [path.name for path in tmp_path.rglob("*.*")] == ["logo_colab.png"]


def test_the_theme_leaves_what_scrolls_to_us(tmp_path):
    script = tmp_path / "scripts" / "pydata-sphinx-theme.js"
    script.parent.mkdir()
    script.write_text('document.querySelectorAll(["pre",".nboutput > .x"].join(", ")).forEach(f)')
    for _ in range(2):
        book_delivery.calm_theme(tmp_path)
        assert script.read_text() == 'document.querySelectorAll(".none").forEach(f)'
    script.write_text("another theme")
    with pytest.raises(ValueError, match="what scrolls"):
        book_delivery.calm_theme(tmp_path)


def test_policy():
    page = book_delivery.with_policy('<meta charset="utf-8" />\n<script>go()</script>')
    policy = book_delivery.policy(page)
    assert f'http-equiv="Content-Security-Policy" content="{policy}"' in page
    assert policy.startswith("default-src 'none'; script-src 'self' 'sha256-")
    assert "unsafe" not in policy and "connect-src 'self'" in policy and "http" not in policy
    assert book_delivery.with_policy(page) == page
    assert "style-src 'self' 'unsafe-inline'" in book_delivery.policy('<p style="color: red">')
    assert "'unsafe-inline'" in book_delivery.policy('<div id="search-results">')
    assert "sha256" not in book_delivery.policy('<script type="text/python">x</script>')
    more = book_delivery.policy("", "script-src 'unsafe-eval'; worker-src blob:")
    assert "script-src 'self' 'unsafe-eval'" in more and "worker-src blob:" in more


def test_one_page_may_be_allowed_more(build):
    site = build(book_policy={"notebooks/budget": "script-src 'unsafe-eval'"})
    assert "'unsafe-eval'" in site.budget and "'unsafe-eval'" not in site.intro
    assert site.index.count("Content-Security-Policy") == 1


def test_one_sheet_for_all_pages_and_again(build):
    site = build()
    names = re.findall(r'href="([^"]*\.css[^"]*)"', site.intro)
    assert len(names) == 1 and names[0].startswith("../_static/site.css?v=")
    assert [path.name for path in site.out.rglob("*.css")] == ["site.css"]
    again = build("More text.")
    assert again.warnings == "" and "More text." in again.intro
    assert re.findall(r'href="([^"]*\.css[^"]*)"', again.budget)[0].startswith(
        "../_static/site.css?v="
    )


def test_what_pages_say_about_themselves(build):
    site = build(project="The book", author="A & B", html_title="The book")
    assert 'name="citation_title" content="The book"' in site.intro
    assert 'name="citation_title" content="Budget"' in site.budget
    assert 'name="citation_author" content="A &amp; B"' in site.budget
    assert "“Budget”, in <cite>The book</cite>" in site.budget
    assert 'name="robots" content="noindex"' in vars(site)["404"]
    assert "og:" not in site.intro and "canonical" not in site.intro
    assert 'action="search.html"' in vars(site)["404"]
    assert not (site.out / "sitemap.xml").exists()


def test_with_an_address(build):
    site = build(html_baseurl="https://example.org/book/", html_title="The book")
    assert '<link rel="canonical" href="https://example.org/book/" />' in site.intro
    assert '<link rel="canonical" href="https://example.org/book/" />' in site.index
    assert (
        '<link rel="canonical" href="https://example.org/book/notebooks/budget.html" />'
        in site.budget
    )
    assert (
        'property="og:image" content="https://example.org/book/_static/cards/notebooks-budget.png"'
        in site.budget
    )
    assert 'name="twitter:card"' in site.budget
    picture = (site.out / "_static" / "cards" / "notebooks-budget.png").read_bytes()
    assert [int.from_bytes(picture[at : at + 4]) for at in (16, 20)] == [1200, 630]
    addresses = re.findall(
        "<loc>(.*)</loc>", (site.out / "sitemap.xml").read_text(encoding="utf-8")
    )
    assert addresses == [
        "https://example.org/book/" + name
        for name in ("book/bibliography.html", "", "book/ledger.html", "notebooks/budget.html")
    ]
    missing = vars(site)["404"]
    assert 'action="/book/search.html"' in missing and 'href="/book/_static/site.css' in missing
    assert not re.search(r'(?:href|src)="(?!/book/|#|https:|data:)', missing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Short. " * 3, ("Short. " * 3).strip()),
        (
            "One sentence that is long enough to stand alone, as it has more than eighty letters in it. "
            * 3,
            "One sentence that is long enough to stand alone, as it has more than eighty letters in it. "
            "One sentence that is long enough to stand alone, as it has more than eighty letters in it.",
        ),
        ("word " * 60, "word " * 39 + "…"),
    ],
)
def test_descriptions_end_where_a_sentence_ends(text, expected):
    assert book_head.shorten(text.strip()) == expected
    assert len(expected) <= book_head.LONGEST


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
HEAD = f"""<title>A page</title><meta name="description" content="{"What the page is about. " * 2}">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'self'">"""
GOOD = (
    f"{HEAD}<article><h1 id='top'>Title</h1><p>{FILLER}</p><a href='page.html#part'>x</a></article>"
)
EXPECTED = """bytes = [500, 5000]\nbytes_without_figures = [500, 5000]\nfirst_view_bytes = 1000
[words]\nother = 20\npage = 50\n"""
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
            f"{HEAD}<article><h2 id='part'>Part</h2><p>{FILLER}</p>{body}</article>"
        )
        (tmp_path / "expected.toml").write_text(EXPECTED, encoding="utf-8")
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
        ("<button onclick='go()'>x</button>", "onclick=…: the policy blocks"),
        ("<script>go()</script>", "blocks the page's own script 'go()'"),
    ],
)
def test_each_fault_is_found(faults, body, expected):
    assert any(expected in fault for fault in faults(body))


def test_missing_and_empty_pages_are_found(faults, tmp_path, capsys):
    toc = "format: jb-book\nroot: index\nparts:\n- chapters:\n  - file: page\n  - file: notebooks/gone\n"
    assert faults("", toc) == ["notebooks/gone.html: missing; _toc.yml names it"]
    (tmp_path / "html" / "page.html").write_text(
        f"{HEAD}<article><h2 id='part'>Part</h2></article>", encoding="utf-8"
    )
    (tmp_path / "html" / "_static" / "x.css").write_text(
        "@import 'https://example.org/x.css';", encoding="utf-8"
    )
    assert main(tmp_path) == 1
    printed = capsys.readouterr().out
    assert (
        "page.html: nearly empty" in printed and "x.css: loads" in printed and "4 faults" in printed
    )


def main(folder):
    """tools/check_site.py on the tiny site in `folder`."""
    files = ("--toc", folder / "_toc.yml", "--expect", folder / "expected.toml")
    return check_site.main([str(argument) for argument in (folder / "html", *files)])


def test_summary_and_manifest(faults, tmp_path, capsys):
    faults(f"<figure><svg role='img' aria-label='{PICTURE}'></svg></figure>")
    assert main(tmp_path) == 0
    assert capsys.readouterr().out == "site: 2 pages, 0.0 MB (0.0 without figures), no faults\n"
    manifest = json.loads((tmp_path / "site_manifest.json").read_text(encoding="utf-8"))
    assert set(manifest["files"]) == {"_static/here.png", "index.html", "page.html"}
    assert manifest["files"]["_static/here.png"]["sha256"].startswith("2d711642b726b044")
    page = manifest["files"]["page.html"]
    assert page["words"] == 60 and page["title"] == "A page" and page["first_view_bytes"] > 200
    assert 90 < manifest["bytes"] - manifest["bytes_without_figures"] < 150
    assert check_site.main([str(tmp_path / "nowhere")]) == 1


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("bytes = [500,", "bytes = [4000,", "expected 4,000 to 5,000"),
        ("first_view_bytes = 1000", "first_view_bytes = 100", "expected 100 at most"),
        ("page = 50", "page = 70", "page.html: 61 words; expected 70 or more"),
        ("page = 50", "other-page = 50", "other-page: in the expectation, not in _toc.yml"),
        ("[500, 5000]", "[500, 900]", "expected 500 to 900"),
    ],
)
def test_a_site_that_shrank_or_grew_is_found(faults, tmp_path, capsys, old, new, expected):
    faults("<figure>" + "x" * 100 + "</figure>")
    text = (tmp_path / "expected.toml").read_text(encoding="utf-8")
    (tmp_path / "expected.toml").write_text(text.replace(old, new), encoding="utf-8")
    assert main(tmp_path) == 1
    assert expected in capsys.readouterr().out


def test_the_expectation_names_pages_of_the_book():
    words = tomllib.loads((ROOT / "tools/site_expectation.toml").read_text("utf-8"))["words"]
    assert set(words) - {"other"} <= set(contents.pages(ROOT / "_toc.yml"))


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


def test_the_scoreboard_begins_with_what_is_off(monkeypatch):
    rows = {
        "v3.layers": {"derived": 61.0, "why": ""},
        "v3.total_pub": {"derived": 700e9, "why": "counted otherwise"},
        "v3.vocab": {"derived": 1.0, "why": ""},
    }
    text = json.dumps({"figures": rows})
    path = SimpleNamespace(read_text=lambda encoding: text)
    monkeypatch.setattr(book_scoreboard, "board_path", lambda app: path)
    assert list(book_scoreboard.read_board(None)) == ["v3.vocab", "v3.total_pub", "v3.layers"]


def test_scoreboard_of_an_unknown_figure_is_reported(build, board):
    board(id="v3.nope")
    assert "v3.nope" in build("```{scoreboard}\n```").warnings


def test_a_derived_number_that_is_not_there_is_reported(build, board):
    board()
    assert "g.size: not on the scoreboard" in build("{derived}`g.size`").warnings
