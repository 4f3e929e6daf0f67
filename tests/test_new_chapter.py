"""The notebook that a new chapter begins with passes the checks of a chapter; nothing is overwritten."""

import shutil
import subprocess
import sys

import pytest
import test_book
import test_selftests
from test_tools import ROOT, load

new_chapter = load("new_chapter")


@pytest.fixture
def tree(tmp_path):
    for folder in ("notebooks", "deepseek_explained"):
        (tmp_path / folder).mkdir()
    for file in ("_toc.yml", "pyproject.toml"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    return tmp_path


def test_a_new_chapter_passes_the_checks_of_a_chapter(tree, monkeypatch):
    path = new_chapter.begin("doubles", "Doubles: twice as much", tree)
    test_book.test_notebooks_are_stored_without_output_and_with_the_books_timeout(path)
    test_book.test_a_chapter_has_its_parts_in_order(path)
    test_book.test_every_exercise_has_time_hint_check_and_solution(path)
    test_selftests.test_a_self_test_has_ten_sound_questions(path)
    ruff = [sys.executable, "-m", "ruff"]
    for command in ("check", "format"):
        options = ["--check"] if command == "format" else []
        done = subprocess.run(
            [*ruff, command, *options, str(path)], cwd=tree, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    monkeypatch.setattr(test_book, "ROOT", tree)
    assert test_book.chapters()[-1] == "doubles"
    assert '"deepseek_explained/doubles.py"' in (tree / "pyproject.toml").read_text("utf-8")


def test_a_new_chapter_exports_and_runs(tree, monkeypatch):
    new_chapter.begin("doubles", "Doubles", tree)
    exports = load("exports")
    exports.export(tree)
    assert exports.differing(tree) == []
    assert "def double" in (tree / "deepseek_explained" / "doubles.py").read_text("utf-8")
    notebooks = load("notebooks")
    monkeypatch.setattr(notebooks, "NOTEBOOKS", tree / "notebooks")
    folder = tree / "run"
    folder.mkdir()
    status, *_ = notebooks.execute("doubles", folder)
    assert status == 0


@pytest.mark.parametrize(
    ("name", "title", "field"),
    [
        ("Doubles", "x", "NAME"),
        ("a b", "x", "NAME"),
        ("../x", "x", "NAME"),
        ("doubles", " ", "TITLE"),
    ],
)
def test_bad_names_are_refused(tree, name, title, field):
    with pytest.raises(ValueError, match=field):
        new_chapter.begin(name, title, tree)
    assert not any((tree / "notebooks").iterdir())


def test_nothing_is_overwritten(tree):
    path = new_chapter.begin("doubles", "Doubles", tree)
    path.write_text("mine", encoding="utf-8")
    with pytest.raises(ValueError, match=r"doubles\.ipynb exists"):
        new_chapter.begin("doubles", "Doubles", tree)
    assert path.read_text(encoding="utf-8") == "mine"
