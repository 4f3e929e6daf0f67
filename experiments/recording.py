"""What the experiments share: where a run was made, and how its numbers are kept."""

import json
import platform
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDED = ROOT / "deepseek_explained" / "recorded"


def processor() -> str:
    """The processor's name, as the system gives it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str:
    """The commit that a run is made from, marked where the tree holds changes that it does not."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", *words], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    changed = git("status", "--porcelain", "--", ":!deepseek_explained/recorded")
    return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")


def rounded(value, digits: int = 5):
    """The same with so many significant digits of every float: more than a figure can show."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {name: rounded(item, digits) for name, item in value.items()}
    return [rounded(item, digits) for item in value] if isinstance(value, list) else value


def write(path: Path, record, indent: int | None = None) -> None:
    """Write a record as JSON: the old file stays whole until the new one is."""
    separators = (",", ":") if indent is None else None
    path.parent.mkdir(exist_ok=True)
    new = path.with_suffix(".new")
    new.write_text(
        json.dumps(record, indent=indent, separators=separators) + "\n", encoding="utf-8"
    )
    new.replace(path)
