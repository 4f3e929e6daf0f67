"""Run notebooks a second time and compare: outputs must agree byte for byte, except in cells tagged `timing`.

`python tools/reproducible.py [NAME ...]` compares with what `tools/notebooks.py` kept; it runs what is not there.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import nbformat

import notebooks


def outputs(path: Path) -> dict[str, list]:
    """Cell id -> what the cell put out, of the cells whose output may not differ."""
    return {
        cell.id: [
            {name: part for name, part in output.items() if name != "execution_count"}
            for output in cell.outputs
        ]
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and "timing" not in cell.metadata.get("tags", [])
    }


def differing(first: Path, second: Path) -> list[str]:
    """Ids of the cells whose outputs are not the same."""
    before, after = outputs(first), outputs(second)
    return [cell for cell in before | after if before.get(cell) != after.get(cell)]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME")
    names = parser.parse_args().names or notebooks.chapters()
    notebooks.prepare_matplotlib()
    status = 0
    for name in names:
        if not notebooks.is_current(name) and not notebooks.run(name):
            return 1
        with tempfile.TemporaryDirectory(prefix="again-") as folder:
            failed, seconds, _ = notebooks.execute(name, Path(folder))
            again = Path(folder) / f"{name}.ipynb"
            cells = [] if failed else differing(notebooks.EXECUTED / again.name, again)
        if failed:
            print(f"{name}: failed when run again", file=sys.stderr)
        elif cells:
            print(
                f"{name}: other outputs when run again, cells {', '.join(cells)}", file=sys.stderr
            )
        else:
            print(f"{name}: the same outputs twice, {seconds:.0f} s")
        status |= bool(failed or cells)
    return status


if __name__ == "__main__":
    sys.exit(main())
