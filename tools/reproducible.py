"""Run notebooks a second time and compare: outputs must agree byte for byte, except in cells tagged `timing`.

`python tools/reproducible.py [NAME ...]` compares with what `tools/notebooks.py` kept; it runs what is not there.
"""

import argparse
import difflib
import json
import sys
import tempfile
from pathlib import Path

import nbformat

import notebooks

SHOWN, WIDTH = 8, 160  # lines of a cell that differ, letters of a line


def merged(outputs: list) -> list[dict]:
    """A cell's outputs without their count. A kernel sends what is printed in pieces of any size: they are joined."""
    whole = []
    for output in outputs:
        output = {name: part for name, part in output.items() if name != "execution_count"}
        stream = output.get("name")
        if stream and whole and whole[-1].get("name") == stream:
            whole[-1]["text"] += output["text"]
        else:
            whole.append(output)
    return whole


def outputs(path: Path) -> dict[str, list[str]]:
    """Cell id -> lines of what the cell put out, of the cells whose output may not differ."""
    return {
        cell.id: json.dumps(merged(cell.outputs), indent=1).replace(r"\n", "\n").splitlines()
        for cell in nbformat.read(path, as_version=4).cells
        if cell.cell_type == "code" and "timing" not in cell.metadata.get("tags", [])
    }


def differing(first: Path, second: Path) -> dict[str, list[str]]:
    """Ids of the cells whose outputs are not the same -> the lines that differ, `-` before and `+` after."""
    before, after = outputs(first), outputs(second)
    changed = {}
    for cell in before | after:
        lines = difflib.unified_diff(before.get(cell, []), after.get(cell, []), n=0, lineterm="")
        if lines := [line for line in lines if line[0] in "-+"][2:]:  # after two of a heading
            changed[cell] = lines
    return changed


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
            cells = {} if failed else differing(notebooks.EXECUTED / again.name, again)
        if failed:
            print(f"{name}: failed when run again", file=sys.stderr)
        elif cells:
            print(f"{name}: other outputs when run again", file=sys.stderr)
            for cell, lines in cells.items():
                shown = (f"\n    {line[:WIDTH]}" for line in lines[:SHOWN])
                print(f"  cell {cell}:{''.join(shown)}", file=sys.stderr)
        else:
            print(f"{name}: the same outputs twice, {seconds:.0f} s")
        status |= bool(failed or cells)
    return status


if __name__ == "__main__":
    sys.exit(main())
