"""No figure in prose without a home: planted ones are found, and the book has none."""

import importlib.util
from pathlib import Path

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
        ("It has 14,848 experts.", "14,848"),
        ("a peak of 989 was assumed", "989"),
        ("at 1.45 an hour", "1.45"),
        ("It is 3.5 times as fast.", "3.5 times"),
        ("| a row | 671 billion |", "671 billion"),
        ("In 2,048 dimensions.", "2,048"),
        ("**2664 hours**", "2664 hours"),
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
        '"It cost 6.5 million dollars." No.',
        "A matrix of 4,096 by 128.\n\n```\n4096 x 128\n```",
        "## Exercises\n\nSuppose it costs 5.6 million dollars.\n\n## Further reading\n\nNone.",
        "You need Python 3.11 or newer.",
    ],
)
def test_what_has_a_home_is_left_alone(prose):
    assert loose_numbers.loose(prose) == []


def test_what_the_code_of_a_notebook_sets_has_a_home():
    assert loose_numbers.loose("A matrix of 64 MiB.", "size = 64 * 2**20") == []
    assert loose_numbers.loose("A cache of 32,768 tokens.", "context = 32_768") == []
    assert loose_numbers.loose("A matrix of 65 MiB.", "size = 64 * 2**20") != []


@pytest.mark.parametrize(
    "path",
    [path for pattern in loose_numbers.PAGES for path in sorted(ROOT.glob(pattern))],
    ids=lambda path: path.name,
)
def test_every_figure_in_prose_has_a_home(path):
    assert loose_numbers.loose(*loose_numbers.page(path)) == []
