"""The glossary: full entries have their fields, their links lead somewhere, their calculations come out."""

import json
import re
from pathlib import Path

import pytest
from test_selftests import miscalculated

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "book" / "glossary.md").read_text(encoding="utf-8")
FIELDS = re.compile(
    r"(?:\*\*Symbol\*\* \$[^$]+\$ · )?"
    r"\*\*In DeepSeek-V3\*\* (?P<value>\S.*) · "
    r"\*\*Taught in\*\* \[[^\]]+\]\(\.\./notebooks/(?P<chapter>\w+)\.ipynb#(?P<anchor>[\w-]+)\) · "
    r'\*\*Thai\*\* <span lang="th">(?P<thai>[^<]+)</span>(?: \(\?\))?'
)


def entries():
    """{term: its paragraphs} of the glossary."""
    inside = re.search(r"^```\{glossary\}\n(.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)[1]
    found = [entry.split("\n", 1) for entry in re.split(r"\n\n(?=\S)", inside)]
    return {term: [paragraph.strip() for paragraph in text.split("\n\n")] for term, text in found}


def anchors(chapter):
    cells = json.loads((ROOT / "notebooks" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    text = "\n\n".join(
        "".join(cell["source"]) for cell in cells["cells"] if cell["cell_type"] == "markdown"
    )
    headings = re.findall(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def fault(paragraphs):
    """What is wrong with a full entry, or None."""
    definition, fields = paragraphs[0], FIELDS.fullmatch(paragraphs[1])
    if len(re.findall(r"[.?!](?=\s|$)", definition)) != 1 or not definition.endswith("."):
        return "expected one sentence"
    if len(paragraphs) != 2 or not fields:
        return "expected a line of the fields In DeepSeek-V3, Taught in, Thai"
    if fields["anchor"] not in anchors(fields["chapter"]):
        return f"{fields['chapter']} has no heading {fields['anchor']}"
    if not re.search(r"[\u0e00-\u0e7f]", fields["thai"]):
        return "expected Thai letters"
    return None


FULL = {term: paragraphs for term, paragraphs in entries().items() if len(paragraphs) > 1}


def test_there_are_enough_full_entries_in_alphabetical_order():
    terms = [term.lower() for term in entries()]
    assert terms == sorted(terms) and len(set(terms)) == len(terms)
    assert len(FULL) >= 50


@pytest.mark.parametrize("term", FULL)
def test_a_full_entry_has_its_fields(term):
    assert fault(FULL[term]) is None


def test_calculations_of_the_glossary_come_out():
    found, wrong = miscalculated(TEXT)
    assert wrong == [] and len(found) > 10


def test_a_faulty_entry_is_found():
    sound = FULL["gate"]
    assert fault(["One. Two.", sound[1]]) == "expected one sentence"
    for old, new in (
        ("**Thai**", "**Tai**"),
        ("#the-mathematics", "#the-arithmetic"),
        ("เกต", "gate"),
    ):
        assert old in sound[1]
        assert fault([sound[0], sound[1].replace(old, new)])
