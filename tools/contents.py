"""What `_toc.yml` names, for all who need it."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml


def pages(toc: Path) -> list[str]:
    """The documents in reading order: `book/intro`, `notebooks/budget`. None if the file is not there."""
    return list(named(yaml.safe_load(toc.read_text(encoding="utf-8")))) if toc.is_file() else []


def named(entry: dict | list | str) -> Iterator[str]:
    """The documents below an entry of the table of contents."""
    if isinstance(entry, dict):
        for key, value in entry.items():
            if key in ("root", "file"):
                yield re.sub(r"\.(md|ipynb)$", "", value)
            else:
                yield from named(value)
    elif isinstance(entry, list):
        for inner in entry:
            yield from named(inner)


def chapters(toc: Path) -> list[str]:
    """The notebooks' names in reading order."""
    return [Path(page).name for page in pages(toc) if page.startswith("notebooks/")]
