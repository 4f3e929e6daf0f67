"""List the figures in prose that have no home: `python tools/loose_numbers.py`. One line each, status 1 on any.

A figure is a number with a unit, an amount of money, also in words, or a number of three or more significant digits.
It has a home if it is a link to the ledger, a role, code or a formula; if the same page links the same digits
elsewhere (a repetition); or if a cell of the page prints them. Digits that stand in a cell's code only are no home.
What a notebook prints is read from `_build/executed`, as `make test` leaves it; a page in `book/` is run here.
Free are years, whole numbers below ten with a unit, powers of two that are a shape or a length in tokens, and anything
in an exercise, which states its own assumptions.
"""

import re
import sys
from pathlib import Path

import nbformat

sys.path.insert(0, str(Path(__file__).resolve().parent))
from scoreboard import executed

from notebooks import EXECUTED, NOTEBOOKS, ROOT

UNITS = (
    "% percent per.cent points? thousand million billion trillion (?:US.)?dollars? USD yuan hours? GPU-hours? days? "
    "weeks? months? years? minutes? seconds? tokens? parameters? FLOPs? [KMGT]B [KMGT]iB [GT]B/s TFLOP/s ms "
    "microseconds? µs k?W kWh kg GPUs? GPU.hours nodes? servers? employees people experts times x fold "
    r"[KMBT]\s(?:parameters|tokens|dollars)"
)
WORDS = "one two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred"
NUMBER = re.compile(
    r"(?<![\w.,#/$-])(\$\d[\d,]*(?:\.\d+)?[KMBT]?|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w,]*\d)"
    rf"(?:([\s-]?(?:{'|'.join(UNITS.split())})(?!\w))|(?![A-Za-z]))"
    rf"|\b((?:{'|'.join(WORDS.split())})\s(?:thousand|million|billion|trillion)\s(?:US\s)?dollars"
    r"|an?\s(?:hundredth|thousandth|millionth)\sof\sit)\b"
)
# What carries its own source, or is no prose.
HOUSED = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<!-- claims -->.*?<!-- /claims -->",  # the article's own figures, in our words
        r"\*\*Claimed\.\*\*[^\n]*",
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"\$(?![\s\d])[^$\n]*(?<!\s)\$(?!\d)|\$\d[^$\n ]*\$(?!\d)",  # a formula, not two amounts of money
        r"`[^`\n]+`",
        r"!?\[[^\]]*\]\([^)]*\)",
        r"\{[\w:-]+\}`[^`]*`",
        r"<[^>]+>",
        r"Python \d\.\d+",
        r"\*\*The core path\*\*[^\n]*",  # how long a chapter takes to read
        r"six million dollars",  # the headline that the book is about
    )
]
EXERCISES = re.compile(r"^## Exercises$.*?(?=^## )", re.DOTALL | re.MULTILINE)


def digits(number: str) -> str:
    """The significant digits of a number as printed: 671,000 and 671 have the same."""
    plain = re.sub(r"[^\d.]", "", number)
    if "." not in plain:
        plain = plain.rstrip("0")
    return plain.replace(".", "").lstrip("0")


def loose(prose: str, printed: str = "") -> list[tuple[str, str]]:
    """(figure, its surroundings) for each figure of the prose that has no home.

    printed: what the page's cells print.
    """
    housed = {digits(number) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", printed)}
    free = EXERCISES.sub("", prose)
    for pattern in HOUSED:
        for match in pattern.finditer(free):
            housed |= {digits(found[1] or "") for found in NUMBER.finditer(match[0])}
        free = pattern.sub(" · ", free)
    found = []
    for match in NUMBER.finditer(free):
        number, unit, words = match.groups()
        if not words:
            value = float(re.sub(r"[^\d.]", "", number))
            is_year = unit is None and re.fullmatch(r"(19|20)\d\d", number)
            is_small = value < 10 and value == int(value) and "$" not in number
            is_shape = (
                unit in (None, " tokens")
                and value == int(value)
                and bin(int(value)).count("1") == 1
            )
            is_plain = unit is None and len(digits(number)) < 3 and "$" not in number
            if is_year or is_small or is_shape or is_plain or digits(number) in housed:
                continue
        around = free[max(0, match.start() - 40) : match.end() + 30]
        found.append((match[0].strip(), " ".join(around.split())))
    return found


def outputs(notebook: nbformat.NotebookNode) -> str:
    """What the cells of an executed notebook print, tables and tooltips included, without the tags of HTML."""
    texts = []
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            texts.append(output.get("text") or data.get("text/html") or data.get("text/plain", ""))
    return re.sub(r"<[^>]+>", " ", "\n".join(texts))


def page(path: Path) -> tuple[str, str]:
    """(prose, what its cells print) of a page or notebook."""
    if path.suffix != ".ipynb":
        text = path.read_text(encoding="utf-8")
        document = path.relative_to(ROOT).with_suffix("").as_posix()
        return text, outputs(executed(document)) if "{code-cell}" in text else ""
    cells = nbformat.read(path, as_version=4).cells
    prose = "\n\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    return prose, outputs(nbformat.read(EXECUTED / path.name, as_version=4))


def main() -> int:
    count = 0
    for path in [*sorted((ROOT / "book").glob("*.md")), *sorted(NOTEBOOKS.glob("*.ipynb"))]:
        for figure, around in loose(*page(path)):
            count += 1
            print(f"{path.relative_to(ROOT)}: {figure}: … {around} …")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
