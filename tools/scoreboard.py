"""Write the scoreboard: every published figure that the executed notebooks and pages derive again.

`python tools/scoreboard.py` gathers what `show_comparisons` and `show_numbers` left in the outputs of
`_build/executed/*.ipynb` and of the pages in `book/` that run code, and writes `book/scoreboard.json`. `--check` writes
nothing and fails if what is recorded differs from what comes out now: a figure gone, a derived value changed, a verdict
changed (worse ones first). So a number may change, but not unseen. A figure derived in several ways has a row for each,
`id`, `id#2` and so on, in the order of the book; the same number met again has none.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import nbformat
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient

from deepseek_explained.facts import compare
from deepseek_explained.figures import COMPARISONS

sys.path.insert(0, str(Path(__file__).resolve().parent))
import contents

from notebooks import EXECUTED, LIMIT, ROOT, encrypt_kernels

BOARD = ROOT / "book" / "scoreboard.json"
# From good to bad; a change to the right is a worse verdict.
VERDICTS = ("exact", "within rounding", "inside", "off, explained", "off, unexplained")
SAME = 1e-6  # relative: what may differ between machines in the last digits of a sum


def documents() -> list[str]:
    """The notebooks, and the pages that show comparisons, in reading order: `notebooks/budget`, `book/derivations`."""
    pages = {name: ROOT / f"{name}.md" for name in contents.pages(ROOT / "_toc.yml")}
    return [
        file
        for file, page in pages.items()
        if file.startswith("notebooks/")
        or (page.exists() and "show_comparisons(" in page.read_text(encoding="utf-8"))
    ]


def executed(document: str) -> nbformat.NotebookNode:
    """The document with its outputs. A page is run here, in seconds."""
    if document.startswith("notebooks/"):
        path = EXECUTED / f"{Path(document).name}.ipynb"
        if not path.exists():
            raise FileNotFoundError(f"{path.stem}: not executed yet; run `make test` first")
        return nbformat.read(path, as_version=4)
    text = (ROOT / f"{document}.md").read_text(encoding="utf-8")
    page = read_myst_markdown_notebook(text)
    encrypt_kernels()
    where = {"metadata": {"path": str(ROOT / "book")}}
    return NotebookClient(page, timeout=LIMIT, kernel_name="python3", resources=where).execute()


def gather() -> dict[str, dict]:
    """What the book derives, in reading order: `figures`, id -> row, without circular ones; `numbers`, name -> row."""
    figures, numbers = {}, {}
    for document in documents():
        for cell in executed(document).cells:
            for output in cell.get("outputs", []):
                found = output.get("data", {}).get(COMPARISONS)
                if found is None:
                    continue
                where = {"page": document, "anchor": found["anchor"]}
                for name, text in found.get("numbers", {}).items():
                    if numbers.get(name, {"text": text})["text"] != text:
                        raise ValueError(f"{name}: two results have this name")
                    numbers.setdefault(name, where | {"text": text})
                for row in found.get("rows", []):
                    earlier = [
                        key
                        for key in figures
                        if key == row["id"] or key.startswith(f"{row['id']}#")
                    ]
                    again = any(
                        math.isclose(figures[key]["derived"], row["derived"], rel_tol=SAME)
                        for key in earlier
                    )
                    if row["circular"] or again:
                        continue
                    key = f"{row['id']}#{len(earlier) + 1}" if earlier else row["id"]
                    result = compare(row["id"], row["derived"], row["why"])
                    said = {name: row[name] for name in ("label", "derived", "why", "lead")}
                    figures[key] = where | said | {"same_source": row["same_source"]}
                    figures[key]["verdict"] = result.verdict
    return {"figures": figures, "numbers": numbers}


def recorded() -> dict[str, dict]:
    if not BOARD.exists():
        return {"figures": {}, "numbers": {}}
    try:
        return json.loads(BOARD.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{BOARD.name}: expected JSON as `make scoreboard` writes it: {error}"
        ) from None


def changes(old: dict[str, dict], new: dict[str, dict]) -> list[str]:
    """One line for each row that is gone, new, or says something else than before; worse verdicts first."""
    worse, other = [], []
    for key in sorted(old["figures"].keys() | new["figures"].keys()):
        was, now = old["figures"].get(key), new["figures"].get(key)
        if now is None:
            worse.append(f"{key}: nothing derives it any more")
        elif was is None:
            other.append(f"{key}: new, {now['verdict']}")
        elif was["verdict"] != now["verdict"]:
            step = f"{key}: was {was['verdict']}, is {now['verdict']}"
            is_worse = VERDICTS.index(now["verdict"]) > VERDICTS.index(was["verdict"])
            (worse if is_worse else other).append(step + " (worse)" * is_worse)
        elif not math.isclose(was["derived"], now["derived"], rel_tol=SAME):
            other.append(f"{key}: derived {was['derived']!r}, now {now['derived']!r}")
        elif was | {"derived": 0} != now | {"derived": 0}:
            other.append(f"{key}: stands elsewhere or is explained otherwise")
    for name in sorted(old["numbers"].keys() | new["numbers"].keys()):
        was, now = old["numbers"].get(name), new["numbers"].get(name)
        if was != now:
            texts = (row["text"] if row else "nothing" for row in (was, now))
            other.append("{}: was {}, is {}".format(name, *texts))
    return worse + other


def write(board: dict[str, dict]) -> None:
    text = json.dumps(board, indent=1, ensure_ascii=False) + "\n"
    new = BOARD.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.replace(BOARD)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args()
    try:
        board = gather()
        differences = changes(recorded(), board)
    except (FileNotFoundError, KeyError, ValueError) as error:
        print(f"scoreboard: {error}", file=sys.stderr)
        return 1
    for line in differences:
        print(f"scoreboard: {line}")
    if options.check:
        if differences:
            print(
                "if that is right, record it with `make scoreboard` and commit it", file=sys.stderr
            )
        return 1 if differences else 0
    write(board)
    print(f"scoreboard: {len(board['figures'])} derivations, {len(board['numbers'])} numbers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
