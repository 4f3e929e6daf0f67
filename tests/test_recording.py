"""What the experiments share: rounding, provenance, and records that are never half written."""

import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("recording", ROOT / "experiments" / "recording.py")
recording = importlib.util.module_from_spec(spec)
spec.loader.exec_module(recording)


def test_numbers_are_rounded_wherever_they_stand():
    record = {"a": [1.23456789, 7], "b": {"c": 123456.789}, "d": "text", "e": True}
    assert recording.rounded(record) == {
        "a": [1.2346, 7],
        "b": {"c": 123460.0},
        "d": "text",
        "e": True,
    }
    assert recording.rounded(1.23456789, digits=3) == 1.23


def test_a_record_names_its_commit_and_whether_the_tree_had_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(recording, "ROOT", tmp_path)

    def git(*words):
        settings = ("-c", "user.name=n", "-c", "user.email=e@x")
        subprocess.run(["git", *settings, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init")
    (tmp_path / "code.py").write_text("1\n", encoding="utf-8")
    git("add", "-A")
    git("commit", "-m", "first")
    clean = recording.commit()
    assert len(clean) >= 7 and " " not in clean
    (tmp_path / "code.py").write_text("2\n", encoding="utf-8")
    assert recording.commit() == f"{clean} with changes"


def test_a_record_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "recorded" / "x.json"
    recording.write(path, {"a": 1})
    with pytest.raises(TypeError):
        recording.write(path, {"a": object()})
    assert json.loads(path.read_text(encoding="utf-8")) == {"a": 1}
