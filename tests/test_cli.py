import json
import os
import shlex
import subprocess
import sys

import pytest

from deepseek_explained.__main__ import main
from deepseek_explained.config import CONFIGS

V3 = str(CONFIGS / "deepseek-v3.json")


def test_the_bill_as_a_table_and_as_json(capsys):
    assert main([V3]) == 0
    table = capsys.readouterr().out
    assert "671,026,419,200" in table
    assert "250.457" in table
    assert main([V3, "--json", "--context", "1"]) == 0
    bill = json.loads(capsys.readouterr().out)
    assert bill["parameters"]["activated"] == 36_625_618_432
    assert bill["context_length"] == 1


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot be read: No such file"),
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"\xff\xfe{}", "expected JSON in UTF-8"),
        (b"[" * 100_000, "not valid JSON"),
        (b"9" * 5000, "not valid JSON"),
        (b"[]", "model_type: expected"),
        (b"{}", "model_type: missing"),
        (b'{"model_type": "gpt2"}', "model_type: expected one of"),
        (b'{"model_type": "llama"}', "num_hidden_layers: missing"),
        (b'{"model_type": "llama", "num_hidden_layers": NaN}', "num_hidden_layers: expected"),
    ],
)
def test_bad_input_gets_one_sentence_and_status_2(tmp_path, capsys, content, complaint):
    path = tmp_path / "config.json"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("python -m deepseek_explained: ")
    assert complaint in err
    assert err.count("\n") == 1


def test_a_folder_and_a_bad_context_are_refused(tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert main([V3, "--context", "0"]) == 2
    assert "context_length: expected" in capsys.readouterr().err


def test_bad_arguments_get_one_sentence(capsys):
    for arguments in ([], [V3, "--context", "x"], [V3, "--no-such-option"]):
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert caught.value.code == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert main(["a\nb\0.json"]) == 2
    error = capsys.readouterr().err
    assert "null" in error
    assert error.count("\n") == 1


def test_help_names_and_explains_every_argument(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    words = " ".join(capsys.readouterr().out.split())
    assert words.startswith("usage: python -m deepseek_explained [-h]")
    assert "FLOPs, cache and weights of a model. positional arguments:" in words
    assert "CONFIG.json a model's config.json" in words
    assert "--context TOKENS length of the sequence (4096)" in words
    assert "--json print JSON" in words


def test_a_pipe_whose_reader_has_gone_is_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m deepseek_explained {shlex.quote(V3)} | true"
    for _ in range(3):
        result = subprocess.run(command, shell=True, capture_output=True, text=True)
        assert result.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_gets_one_sentence_and_status_1():
    buffered = {name: v for name, v in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "deepseek_explained", V3]
        result = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, env=buffered
        )
    assert result.returncode == 1
    assert result.stderr.startswith("python -m deepseek_explained: cannot write: ")
    assert result.stderr.count("\n") == 1


def test_the_command_prints_the_bill_and_returns_the_status():
    for path, status in ((V3, 0), ("no-such-file.json", 2)):
        command = [sys.executable, "-m", "deepseek_explained", path]
        result = subprocess.run(command, capture_output=True, text=True)
        assert result.returncode == status
        assert ("671,026,419,200" in result.stdout) is (status == 0)


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + (CONFIGS / "tiny.json").read_bytes())
    assert main([str(path)]) == 0


def test_the_command_itself_needs_nothing_but_the_standard_library(tmp_path):
    """Run without site-packages: an import of numpy or torch would fail."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); from deepseek_explained.__main__ import main; "
    code += "sys.exit(main(sys.argv[2:]))"
    root = str(CONFIGS.parent.parent)
    command = [sys.executable, "-I", "-S", "-c", code, root, V3]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "671,026,419,200" in result.stdout
