"""List the figures in prose that have no home: `python tools/loose_numbers.py`. One line each, status 1 on any.

A figure is a number with a unit, or one of three or more significant digits. It has a home if it is a link to the
ledger, a role, code or a formula; if the same page links or prints the same digits elsewhere (a repetition, or the
result of a cell in the notebook's code); or if it stands inside quotation marks, as a claim that is examined.
Free are years, whole numbers below ten with a unit, and anything in an exercise, which states its own assumptions.
"""

import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ("book/*.md", "notebooks/*.ipynb")

UNITS = (
    "% percent points? thousand million billion trillion dollars? USD hours? GPU-hours? days? tokens? parameters? "
    "FLOPs? [KMGT]B [KMGT]iB [GT]B/s TFLOP/s ms microseconds? µs k?W kWh GPUs? times people"
)
NUMBER = re.compile(
    r"(?<![\w.,#/-])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w,]*\d)"
    rf"(\s?(?:{'|'.join(UNITS.split())})(?![\w]))?"
)
# What carries its own source, or is no prose.
HOUSED = [
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"<!-- claims -->.*?<!-- /claims -->",  # the article's own figures, quoted in our words
        r"```.*?```",
        r"\$\$.*?\$\$",
        r"\$[^$\n]+\$",
        r"`[^`\n]+`",
        r"!?\[[^\]]*\]\([^)]*\)",
        r"\{[\w:-]+\}`[^`]*`",
        r"<[^>]+>",
        r"[\"“][^\"“”\n]{1,200}[\"”]",
        r"Python \d\.\d+",
    )
]
EXERCISES = re.compile(r"^## Exercises$.*?(?=^## )", re.DOTALL | re.MULTILINE)


def digits(number: str) -> str:
    """The significant digits of a number as printed: 671,000 and 671 have the same."""
    plain = number.replace(",", "")
    if "." not in plain:
        plain = plain.rstrip("0")
    return plain.replace(".", "").lstrip("0")


def loose(prose: str, code: str = "") -> list[tuple[str, str]]:
    """(figure, its surroundings) for each figure of the prose that has no home. code: the page's code cells."""
    housed = set()
    free = EXERCISES.sub("", prose)
    for pattern in HOUSED:
        for match in pattern.finditer(free):
            housed |= {digits(number) for number, _ in NUMBER.findall(match[0])}
        free = pattern.sub(" · ", free)
    housed |= {
        digits(number) for number in re.findall(r"[\d][\d_,]*(?:\.\d+)?", code.replace("_", ""))
    }
    found = []
    for match in NUMBER.finditer(free):
        number, unit = match.groups()
        value = float(number.replace(",", ""))
        is_year = unit is None and re.fullmatch(r"(19|20)\d\d", number)
        is_small = value < 10 and value == int(value)
        is_plain = unit is None and len(digits(number)) < 3
        if not (is_year or is_small or is_plain or digits(number) in housed):
            around = free[max(0, match.start() - 40) : match.end() + 30]
            found.append((match[0].strip(), " ".join(around.split())))
    return found


def page(path: Path) -> tuple[str, str]:
    """(prose, code) of a page or notebook."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text, ""
    cells = json.loads(text)["cells"]
    prose, code = (
        "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == kind)
        for kind in ("markdown", "code")
    )
    return prose, code


def main() -> int:
    paths = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    count = 0
    for path in paths:
        for figure, around in loose(*page(path)):
            count += 1
            print(f"{path.relative_to(ROOT)}: {figure}: … {around} …")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
