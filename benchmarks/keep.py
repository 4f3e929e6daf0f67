"""Keeps the numbers of the benchmarks in `_build/bench.json` and lays each beside the last recorded one.

`make bench` fills the file; `make bench-record` makes it the record, `benchmarks/recorded.json`.
"""

import json
import platform
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOW = ROOT / "_build" / "bench.json"
RECORDED = ROOT / "benchmarks" / "recorded.json"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def keep(name: str, value: float, unit: str) -> None:
    """Keep one number under its name, and print it with the recorded one. unit: s, ms, GB, or times for a ratio."""
    now = read(NOW) | {"machine": f"{platform.system()} {platform.machine()}"}
    now[name] = {"value": float(f"{value:.3g}"), "unit": unit}
    NOW.parent.mkdir(exist_ok=True)
    new = NOW.with_suffix(".new")
    new.write_text(json.dumps(now, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    new.replace(NOW)
    before = read(RECORDED).get(name)
    beside = (
        f"recorded {before['value']:g}, {value / before['value'] - 1:+.0%}" if before else "new"
    )
    print(f"kept {name}: {value:.3g} {unit} ({beside})")
