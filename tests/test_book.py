"""What holds for every chapter and page: the rules of the book, checked on its sources."""

import ast
import json
import re
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

from deepseek_explained.facts import ledger

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))
import contents  # noqa: E402

PACKAGE = ROOT / "deepseek_explained"
PAGES = sorted((ROOT / "book").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
BIBLIOGRAPHY = (ROOT / "book" / "references.bib").read_text(encoding="utf-8")

LEDGER_LINK = re.compile(r"\[([^\]]*)\]\((?:\.\./book/)?ledger\.md#([^)]+)\)")
FACT_ROLE = re.compile(r"\{fact(?:-number)?\}`([^`]+)`")
CITATION = re.compile(r"\{cite(?::\w+)?\}`([^`]+)`")
FACT_CALL = re.compile(r"""\b(?:fact|compare)\(\s*["']([^"']+)["']""")
HEADINGS = [
    "The claim",
    "The idea",
    "The mathematics",
    "Build it",
    "Check it",
    "Measure it",
    "What it costs",
    "Commonly believed",
    "The verdict",
    "Exercises",
    "Further reading",
    "Test yourself",
    "Explain it back",
]
COST_CHAPTERS = ("budget", "training_cost", "total_cost", "serving_cost")


@cache
def cells(path, kind):
    content = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in content["cells"] if cell["cell_type"] == kind]


def source(cell):
    return "".join(cell["source"])


def tags(cell):
    return cell["metadata"].get("tags", [])


def prose():
    """(name, markdown) of every page and notebook."""
    for path in PAGES:
        yield path.name, path.read_text(encoding="utf-8")
    for path in NOTEBOOKS:
        yield path.name, "\n\n".join(source(cell) for cell in cells(path, "markdown"))


def code():
    for path in NOTEBOOKS:
        yield path.name, "\n\n".join(source(cell) for cell in cells(path, "code"))


def chapters():
    return contents.chapters(ROOT / "_toc.yml")


def test_every_notebook_and_page_is_in_the_contents():
    assert {path.stem for path in NOTEBOOKS} == set(chapters())
    toc = (ROOT / "_toc.yml").read_text(encoding="utf-8")
    assert [path.stem for path in PAGES if f"book/{path.stem}" not in toc] == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_stored_without_output_and_with_the_books_timeout(path):
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["metadata"]["execution"]["timeout"] == 150
    assert content["metadata"]["kernelspec"]["name"] == "python3"
    assert content["nbformat_minor"] == 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_chapter_has_its_parts_in_order(path):
    text = "\n\n".join(source(cell) for cell in cells(path, "markdown"))
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_exercise_has_time_hint_check_and_solution(path):
    text = "\n\n".join(source(cell) for cell in cells(path, "markdown"))
    exercises = re.split(r"^### (?=\d+\. )", text.split("\n## Exercises")[1], flags=re.MULTILINE)[
        1:
    ]
    assert len(exercises) >= 6
    assert [number.split(".")[0] for number in exercises] == [
        str(n + 1) for n in range(len(exercises))
    ]
    for exercise in exercises:
        assert re.search(r"\d+ minutes", exercise.splitlines()[0]), exercise.splitlines()[0]
        assert '<details class="hint"><summary>Hint</summary>' in exercise
    questions = [cell for cell in cells(path, "code") if "exercise" in tags(cell)]
    solutions = [cell for cell in cells(path, "code") if "solution" in tags(cell)]
    assert len(questions) == len(solutions) == len(exercises)
    for cell in solutions:
        assert "hide-cell" in tags(cell)
    assert sum("assert" in source(cell) for cell in solutions) >= len(solutions) - 2
    assert any("Break it" in exercise.splitlines()[0] for exercise in exercises)


def test_figures_are_shown_with_a_description_only():
    """`show` refuses a figure without a real alt text; nothing else may put a picture on a page."""
    for name, text in code():
        for forbidden in ("plt.show", "plt.figure", "plt.subplots", "%matplotlib", "Image("):
            assert forbidden not in text, (
                f"{name}: {forbidden}; use new_figure and show of deepseek_explained.figures"
            )
        assert text.count("new_figure(") == len(re.findall(r"\bshow\(", text)), name
    for name, text in prose():
        for alt in re.findall(r"!\[([^\]]*)\]\(", text):
            assert len(alt) >= 40, f"{name}: image with alt text {alt!r}"


def test_every_id_is_in_the_ledger():
    used = [(name, identifier) for name, text in prose() for identifier in FACT_ROLE.findall(text)]
    used += [
        (name, identifier) for name, text in prose() for _, identifier in LEDGER_LINK.findall(text)
    ]
    used += [(name, identifier) for name, text in code() for identifier in FACT_CALL.findall(text)]
    assert len(used) > 30
    assert [(name, identifier) for name, identifier in used if identifier not in ledger()] == []


SCALE_WORDS = {
    "thousand": ("thousand", "K"),
    "million": ("million", "M"),
    "billion": ("billion", "B", "GFLOP"),
    "trillion": ("trillion", "T"),
}


def mismatch(text, identifier, paragraph=""):
    """What is wrong with a number typed as a link, beside its ledger entry, or None.

    The digits must be those of the ledger. The scale must stand in the link, or else in its paragraph.
    """
    figure = ledger()[identifier]
    typed = [number.replace(",", "") for number in re.findall(r"\d[\d,]*(?:\.\d+)?", text)]
    printed = [str(end) for end in dict.fromkeys((figure.low, figure.high)) if end.is_finite()]
    if typed != printed:
        return f"[{text}] but {identifier} is {figure}"
    wanted = SCALE_WORDS.get(figure.unit.split(" ")[0], ())
    said = [
        scale
        for scale, words in SCALE_WORDS.items()
        if re.search(rf"\b({'|'.join(words)})\b", text)
    ]
    near = re.search(rf"\b({'|'.join(wanted)})\b", paragraph) if wanted else True
    if (said and figure.unit.split(" ")[0] not in said) or (not said and not near):
        return f"[{text}] does not have the scale of {identifier}: {figure}"
    return None


def typed_numbers():
    for name, text in prose():
        for paragraph in re.split(r"\n\s*\n", text):
            for link, identifier in LEDGER_LINK.findall(paragraph):
                yield name, mismatch(link, identifier, paragraph)


def test_typed_numbers_are_those_of_the_ledger():
    found = list(typed_numbers())
    assert len(found) > 15
    assert [(name, wrong) for name, wrong in found if wrong] == []


def test_the_check_of_typed_numbers_can_fail():
    assert mismatch("671 billion", "v3.total_pub") is None
    assert mismatch("671", "v3.total_pub", "parameters, in billion") is None
    assert mismatch("671", "v3.total_pub", "parameters")
    assert mismatch("672 billion", "v3.total_pub")
    assert mismatch("671 million", "v3.total_pub", "billion")
    assert mismatch("671.0 billion", "v3.total_pub")
    assert mismatch("61", "v3.layers") is None


def unsaid(text):
    """Ids of figures that nobody has seen, typed in a paragraph that does not say so."""
    return [
        identifier
        for paragraph in re.split(r"\n\s*\n", text)
        for _, identifier in LEDGER_LINK.findall(paragraph)
        if ledger()[identifier].standing == "reported but not seen" and "reported" not in paragraph
    ]


def test_what_nobody_has_seen_is_not_printed_as_a_fact():
    assert [(name, identifier) for name, text in prose() for identifier in unsaid(text)] == []
    rumour = next(
        figure for figure in ledger().values() if figure.standing == "reported but not seen"
    )
    link = f"[{rumour.number}](../book/ledger.md#{rumour.id})"
    assert unsaid(f"It cost {link}.") == [rumour.id]
    assert unsaid(f"It is reported to have cost {link}.") == []
    assert "not seen" in str(rumour)


def bibliography_keys(text):
    return re.findall(r"^\s*@\w+\s*\{\s*([^,\s]+)", text, flags=re.MULTILINE)


def test_sources_are_cited_and_cited_sources_are_there():
    keys = bibliography_keys(BIBLIOGRAPHY)
    assert sorted(set(keys)) == sorted(keys), "a key stands twice"
    quotations = tomllib.loads((ROOT / "book" / "quotations.toml").read_text(encoding="utf-8"))
    cited = {figure.source for figure in ledger().values()}
    cited |= {quotation["source"] for quotation in quotations.values()}
    cited |= {
        key.strip()
        for _, text in prose()
        for keys in CITATION.findall(text)
        for key in keys.split(",")
    }
    assert cited - set(keys) == set(), "cited but not in references.bib"
    assert set(keys) - cited == set(), "in references.bib but never cited"


def test_ledger_notes_name_entries_that_exist():
    prefixes = {identifier.split(".")[0] for identifier in ledger()}
    for figure in ledger().values():
        for word in re.findall(r"\b[a-z0-9]+(?:\.[a-z0-9_]*[a-z][a-z0-9_]*)+\b", figure.note):
            if word.split(".")[0] in prefixes:
                assert word in ledger() or word.endswith((".py", ".md", ".json", ".com")), (
                    f"{figure.id}: {word}"
                )


def imports_of(path):
    """Modules of the package that a module imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (
            node.level or (node.module or "").startswith("deepseek_explained")
        ):
            names.add((node.module or "").split(".")[-1])
    return names


def outside_imports_of(path):
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names - {"deepseek_explained"}


def test_reading_order_is_import_order():
    order = chapters()
    support = {path.stem for path in PACKAGE.glob("*.py")} - set(order) - {"__init__", "__main__"}
    for path in PACKAGE.glob("*.py"):
        if path.stem in order:
            allowed = support | set(order[: order.index(path.stem)])
        elif path.stem in support:
            allowed = support
        else:
            continue
        assert imports_of(path) <= allowed, path.name
    for path in NOTEBOOKS:
        allowed = support | set(order[: order.index(path.stem)])
        text = "\n".join(source(cell) for cell in cells(path, "code"))
        assert set(re.findall(r"deepseek_explained\.(\w+)", text)) <= allowed, path.name


def test_money_is_plain_python():
    """The cost chapters' modules, and what they import, need nothing but the standard library."""
    waiting = [name for name in COST_CHAPTERS if name in chapters()] + ["config", "facts"]
    seen = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = PACKAGE / f"{name}.py"
        assert outside_imports_of(path) <= set(sys.stdlib_module_names), name
        waiting += sorted(imports_of(path))
    assert {"budget", "config"} <= seen


def test_the_text_does_not_talk_down():
    for name, text in prose():
        for word in ("simply", "obviously", "note that"):
            assert not re.search(rf"\b{word}\b", text, flags=re.IGNORECASE), f"{name}: {word!r}"


def test_public_functions_of_exported_modules_have_docstrings():
    for name in chapters():
        tree = ast.parse((PACKAGE / f"{name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{name}.{node.name}"


VERDICTS = (
    "holds",
    "holds with a condition",
    "misattributed",
    "wrong mechanism",
    "opinion",
    "cannot be known",
)


def claims():
    """(number, text) of each section of the verdicts page."""
    text = (ROOT / "book" / "verdicts.md").read_text(encoding="utf-8")
    sections = re.split(r"^\(claim-(\d+)\)=$", text, flags=re.MULTILINE)
    return list(zip(map(int, sections[1::2]), sections[2::2], strict=True))


def test_every_claim_that_the_introduction_lists_has_its_verdict_in_order():
    intro = (ROOT / "book" / "intro.md").read_text(encoding="utf-8")
    listed = [int(number) for number in re.findall(r"^\| (\d+) \|", intro, re.MULTILINE)]
    assert listed == [number for number, _ in claims()] == list(range(1, len(listed) + 1))
    assert len(listed) >= 18


@pytest.mark.parametrize("number, text", claims(), ids=lambda value: str(value)[:3].strip())
def test_each_verdict_has_its_parts(number, text):
    assert f"## {number}. " in text
    for part in ("Claimed", "The sources", "The book", "What would change our mind"):
        assert len(re.findall(rf"^\*\*{part}\.\*\* \S", text, re.MULTILINE)) == 1, part
    verdict = re.findall(r"^\*\*Verdict: ([a-z ]+)\.\*\*", text, re.MULTILINE)
    assert len(verdict) == 1 and verdict[0] in VERDICTS
    table = (ROOT / "book" / "verdicts.md").read_text(encoding="utf-8")
    row = rf"^\| \[{number}\]\(#claim-{number}\) \| .* \| {verdict[0]} \|$"
    assert re.search(row, table, re.M), "no row with this verdict in the table"
    assert "{quote}`" in text
    linked = re.findall(r"\]\((\.\./notebooks/[^)]+)\)", text)
    assert all(re.fullmatch(r"\S+\.ipynb#[\w-]+", link) for link in linked), "to a section"
    computed = "{derived}`" in text or linked
    assert computed or re.search(r"\*\*The book\.\*\* (Nothing|There is nothing)", text)


def test_every_row_of_the_scoreboard_has_a_figure_and_a_cell():
    board = json.loads((ROOT / "book" / "scoreboard.json").read_text(encoding="utf-8"))
    assert len(board["figures"]) > 150
    for key, row in (board["figures"] | board["numbers"]).items():
        assert key in board["numbers"] or key.split("#")[0] in ledger(), key
        assert any(ROOT.glob(f"{row['page']}.*")), f"{key}: {row['page']}"
        assert re.fullmatch(r"derived-[0-9a-f]{8}", row["anchor"]), key


def test_every_number_that_a_page_quotes_is_on_the_scoreboard():
    board = json.loads((ROOT / "book" / "scoreboard.json").read_text(encoding="utf-8"))
    quoted = [name for _, text in prose() for name in re.findall(r"\{derived\}`([^`]+)`", text)]
    assert len(quoted) > 20
    assert set(quoted) <= board["figures"].keys() | board["numbers"].keys()
