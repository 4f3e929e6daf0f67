"""Write the scoreboard from the executed notebooks: every published figure that the book derives again.

`python tools/scoreboard.py` gathers what `show_comparisons` left in the outputs of `_build/executed/*.ipynb`, and
writes `book/scoreboard.json`. `--check` writes nothing and fails if what is recorded differs from what the notebooks
now derive: a figure gone, a derived value changed, a verdict changed (worse ones first). So a number may change, but
not unseen. A figure that several chapters derive counts once, where it stands first in the book.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import nbformat

from deepseek_explained.facts import compare
from deepseek_explained.figures import COMPARISONS

sys.path.insert(0, str(Path(__file__).resolve().parent))
from notebooks import EXECUTED, ROOT, chapters

BOARD = ROOT / "book" / "scoreboard.json"
# From good to bad; a change to the right is a worse verdict.
VERDICTS = ("exact", "within rounding", "inside", "off, explained", "off, unexplained")
SAME = 1e-6  # relative: what may differ between machines in the last digits of a sum


def gather() -> dict[str, dict]:
    """Id of a figure -> where and what the notebooks derive, in reading order. Circular rows are left out."""
    board = {}
    for name in chapters():
        path = EXECUTED / f"{name}.ipynb"
        if not path.exists():
            raise FileNotFoundError(f"{name}: not executed yet; run `make test` first")
        for cell in nbformat.read(path, as_version=4).cells:
            for output in cell.get("outputs", []):
                found = output.get("data", {}).get(COMPARISONS, {"rows": []})
                for row in found["rows"]:
                    if row["circular"] or row["id"] in board:
                        continue
                    result = compare(row["id"], row["derived"], row["why"])
                    board[row["id"]] = {
                        "notebook": name,
                        "cell": cell.id,
                        "anchor": found["anchor"],
                        "derived": row["derived"],
                        "verdict": result.verdict,
                        "why": row["why"],
                    }
    return board


def recorded() -> dict[str, dict]:
    if not BOARD.exists():
        return {}
    try:
        return json.loads(BOARD.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{BOARD.name}: expected JSON as `make scoreboard` writes it: {error}"
        ) from None


def changes(old: dict[str, dict], new: dict[str, dict]) -> list[str]:
    """One line for each row that is gone, new, or says something else than before; worse verdicts first."""
    worse, other = [], []
    for identifier in sorted(old.keys() | new.keys()):
        if identifier not in new:
            worse.append(f"{identifier}: no notebook derives it any more")
        elif identifier not in old:
            other.append(f"{identifier}: new, {new[identifier]['verdict']}")
        else:
            was, now = old[identifier], new[identifier]
            if was["verdict"] != now["verdict"]:
                step = f"{identifier}: was {was['verdict']}, is {now['verdict']}"
                is_worse = VERDICTS.index(now["verdict"]) > VERDICTS.index(was["verdict"])
                (worse if is_worse else other).append(step + " (worse)" * is_worse)
            elif not math.isclose(was["derived"], now["derived"], rel_tol=SAME):
                other.append(f"{identifier}: derived {was['derived']!r}, now {now['derived']!r}")
            elif any(was.get(key) != now.get(key) for key in ("notebook", "cell", "anchor", "why")):
                other.append(f"{identifier}: stands elsewhere or is explained otherwise")
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
    print(f"scoreboard: {len(board)} figures derived again")
    return 0


if __name__ == "__main__":
    sys.exit(main())
