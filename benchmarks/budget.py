"""How fast counting is, and what the notebooks took when last executed; exits with 1 if one broke its limit."""

import json
import sys
import timeit
from pathlib import Path

from keep import keep

from deepseek_explained.budget import ModelSpec, bill
from deepseek_explained.config import published_config
from deepseek_explained.facts import LEDGER_PATH, read_ledger

EXECUTED = Path(__file__).resolve().parent.parent / "_build" / "executed"
LIMIT = 150  # seconds, as in tools/notebooks.py


def fastest(work, number: int) -> float:
    """Milliseconds of one call, in the fastest of five rounds."""
    return min(timeit.repeat(work, number=number, repeat=5)) / number * 1e3


def main() -> int:
    config = published_config("deepseek-v3")
    text = LEDGER_PATH.read_text(encoding="utf-8")
    keep("budget.ledger", fastest(lambda: read_ledger(text), 3), "ms")
    keep("budget.bill", fastest(lambda: bill(ModelSpec.from_config(config)), 200), "ms")
    slow = []
    for path in sorted(EXECUTED.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        keep(f"notebook.{path.stem}.time", record["seconds"], "s")
        keep(f"notebook.{path.stem}.memory", record["peak_bytes"] / 1e9, "GB")
        if record["seconds"] > LIMIT:
            slow.append(path.stem)
    for name in slow:
        print(f"notebook {name}: expected at most {LIMIT} s", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
