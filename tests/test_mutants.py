"""The tool that changes modules to see whether their tests notice: it is seen to fail."""

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "mutants.py"


def load():
    spec = importlib.util.spec_from_file_location("tools_mutants", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


tool = load()


def changes(source):
    return [mutant.change for mutant in tool.mutants("module", ast.parse(source))]


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("a = 2", ["2 → 3"]),
        ("a = 0.5", ["0.5 → 2.0"]),
        ("a = True", ["True → False"]),
        ("a = 'b'", ["'b' → ''"]),
        ("a = f'b{c:.2f}'", ["f'b{c:.2f}' → ''"]),
        ("a = b * c", ["b * c → b / c"]),
        ("a = b < c", ["b < c → b <= c"]),
        ("a = b and not c", ["b and (not c) → b or not c", "not c → c"]),
        ("a = min(b)", ["min → max"]),
        ("a = b(c=d)", ["without c=d"]),
        ("b(c)", ["b(c) → pass"]),
        ("if a < b: c = d", ["a < b → a <= b", "a < b → not a < b"]),
        ("if a == b: c = d", ["a == b → a != b"]),
        ("def f(a: int = 1) -> int:\n 'text'\n return a", ["return a → return None", "1 → 2"]),
        ("'text'\nimport a\n__all__ = ['a']\n@a\nclass B:\n c: int", []),
    ],
)
def test_what_is_changed(source, expected):
    assert sorted(changes(source)) == sorted(expected)


def test_a_mutant_differs_in_one_place_and_the_next_starts_from_the_original():
    tree = ast.parse("a = 1 + 1\nb = a < 2")
    texts = [mutant.text(tree) for mutant in tool.mutants("module", tree)]
    assert sorted(texts) == sorted(
        [
            "a = 1 - 1\nb = a < 2",
            "a = 2 + 1\nb = a < 2",
            "a = 1 + 2\nb = a < 2",
            "a = 1 + 1\nb = a <= 2",
            "a = 1 + 1\nb = a < 3",
        ]
    )
    assert len({mutant.key for mutant in tool.mutants("module", tree)}) == 5


def test_the_sample_is_fixed_and_hardly_moves_when_a_line_is_added():
    source = "\n".join(f"a{i} = {i}" for i in range(100))
    sample, again = (
        {m.key for m in tool.chosen(tool.mutants("module", ast.parse(text)), 20)}
        for text in (source, "b = 1\n" + source)
    )
    assert len(sample) == 20
    assert len(sample & again) >= 19


MODULE = "def double(x):\n    if x > 100:\n        raise ValueError('x')\n    return 2 * x\n"
WEAK = "from deepseek_explained.facts import double\n\ndef test():\n    assert double(2) == 4\n"
STRONG = (
    WEAK
    + "    assert double(100) == 200\n    for x in (101, 102):\n        try:\n            double(x)\n"
    + "        except ValueError as error:\n            assert str(error) == 'x'\n"
    + "        else:\n            assert False\n"
)


def run(tree, *options):
    program = (
        "import importlib.util, pathlib, sys\n"
        "spec = importlib.util.spec_from_file_location('mutants', sys.argv.pop(1))\n"
        "tool = sys.modules['mutants'] = importlib.util.module_from_spec(spec)\n"
        "spec.loader.exec_module(tool)\n"
        "tool.ROOT = pathlib.Path(sys.argv.pop(1))\n"
        "tool.RECORD = tool.ROOT / 'tests' / 'mutants.toml'\n"
        "sys.exit(tool.main())"
    )
    command = [sys.executable, "-c", program, str(TOOL), str(tree), "facts", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_weak_tests_fail_and_strong_ones_pass(tmp_path):
    for folder in ("deepseek_explained", "tests"):
        (tmp_path / folder).mkdir()
    (tmp_path / "deepseek_explained" / "__init__.py").touch()
    (tmp_path / "deepseek_explained" / "facts.py").write_text(MODULE)
    test = tmp_path / "tests" / "test_facts.py"
    record = tmp_path / "tests" / "mutants.toml"

    test.write_text(WEAK)
    weak = run(tmp_path)
    assert weak.returncode == 1
    assert "expected 90%" in weak.stderr and "without a reason" in weak.stderr
    assert 'reason = ""' in record.read_text()

    # Another group without survivors stays as it is.
    record.write_text(record.read_text() + '\n["torch"]\nmutants = 1\nkilled = 1\n')
    test.write_text(STRONG)
    strong = run(tmp_path, "--again")
    assert strong.returncode == 0, strong.stderr
    recorded = tool.tomllib.loads(record.read_text())
    assert recorded["facts"].get("survivors") is None and recorded["torch"]["killed"] == 1

    test.write_text("def test():\n    assert False\n")
    broken = run(tmp_path)
    assert broken.returncode == 1 and "fail before anything is changed" in broken.stderr
    assert (tmp_path / "deepseek_explained" / "facts.py").read_text() == MODULE
