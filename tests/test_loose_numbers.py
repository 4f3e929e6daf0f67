"""No figure in prose without a home: planted ones are found, and the pages that are only read have none.

Pages and notebooks that run are checked by `make test`, after they have run.
"""

import importlib.util
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("loose_numbers", ROOT / "tools" / "loose_numbers.py")
loose_numbers = importlib.util.module_from_spec(spec)
spec.loader.exec_module(loose_numbers)


@pytest.mark.parametrize(
    "prose, figure",
    [
        ("It cost 5.6 million dollars.", "5.6 million"),
        ("It saves 93.3 % of the cache.", "93.3 %"),
        ("It saves 42.5% of the hours.", "42.5%"),
        ("A node draws 10.2 kW.", "10.2 kW"),
        ("It has 14,848 experts.", "14,848 experts"),
        ("a peak of 989 was assumed", "989"),
        ("at 1.45 an hour", "1.45"),
        ("It is 3.5 times as fast.", "3.5 times"),
        ("| a row | 671 billion |", "671 billion"),
        ("In 2,050 dimensions.", "2,050"),
        ("**2664 hours**", "2664 hours"),
        ("It cost 12 US dollars.", "12 US dollars"),
        ("It cost $5.6M.", "$5.6M"),
        ("It cost twelve million dollars.", "twelve million dollars"),
        ("It fell by 17%, a lot.", "17%"),
        ("It fell by 17 per cent.", "17 per cent"),
        ("It took 21 months.", "21 months"),
        ("It took about 45 seconds.", "45 seconds"),
        ("It lasts 44 years.", "44 years"),
        ("It needs 14 nodes.", "14 nodes"),
        ("It needs 64 GPUs.", "64 GPUs"),
        ("It has 150 employees.", "150 employees"),
        ("It has 37B parameters.", "37B parameters"),
        ("It weighs 1,230 kg.", "1,230 kg"),
        ("It draws 300 W.", "300 W"),
        ("It took 1.5x longer.", "1.5x"),
        ("It grew 12-fold.", "12-fold"),
        ("It took a thousandth of it.", "a thousandth of it"),
        ("“It costs 999 million,” we say.", "999 million"),
    ],
)
def test_a_planted_figure_is_found(prose, figure):
    assert [found for found, _ in loose_numbers.loose(prose)] == [figure]


@pytest.mark.parametrize(
    "prose",
    [
        "In 2025 it has 61 layers and two nodes.",
        "It takes 3 days and 5 million tokens.",
        "[671 billion](ledger.md#v3.total_pub), so 671 billion it is.",
        "{fact}`v3.total_pub` and `2048 GPUs` and $d = 7168$.",
        "The width $d = 3.45$ and the matrix $W_{671}$ are formulas.",
        "A matrix of 4,096 by 128.\n\n```\n4096 x 128\n```",
        "## Exercises\n\nSuppose it costs 5.6 million dollars.\n\n## Further reading\n\nNone.",
        "You need Python 3.11 or newer.",
    ],
)
def test_what_has_a_home_is_left_alone(prose):
    assert loose_numbers.loose(prose) == []


def test_two_amounts_are_no_formula():
    found = loose_numbers.loose("It cost $12 million, not $13.7 million.")
    assert [figure for figure, _ in found] == ["$12 million", "$13.7 million"]


def test_a_home_is_what_a_cell_prints_and_not_what_stands_in_its_code():
    output = nbformat.v4.new_output("stream", text="a matrix of 64 MiB\n")
    cell = nbformat.v4.new_code_cell("size = 65 * 2**20", outputs=[output])
    printed = loose_numbers.outputs(nbformat.v4.new_notebook(cells=[cell]))
    assert loose_numbers.loose("A matrix of 64 MiB.", printed) == []
    assert loose_numbers.loose("A matrix of 65 MiB.", printed) != []


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in sorted((ROOT / "book").glob("*.md"))
        if "{code-cell}" not in path.read_text(encoding="utf-8")
    ],
    ids=lambda path: path.name,
)
def test_every_figure_in_prose_has_a_home(path):
    assert loose_numbers.loose(*loose_numbers.page(path)) == []
