import hashlib
import math

import pytest

from deepseek_explained.config import LARGEST_NUMBER
from deepseek_explained.exercises import check, fingerprint, is_right


@pytest.mark.parametrize("answer", [44040192, 2.302672896, 0.0999, 0.9995, 1000, -3.0871, 0])
def test_the_answer_itself_is_right_and_others_are_not(answer):
    expected = fingerprint("an exercise", answer)
    assert is_right("an exercise", answer, expected)
    assert is_right("an exercise", answer * 1.0004, expected)
    for wrong in (answer * 1.03 + 1e-3, -answer - 1, answer * 1000 + 1):
        assert not is_right("an exercise", wrong, expected)
    assert not is_right("another exercise", answer, expected)


def test_neighbours_across_a_power_of_ten_are_right_too():
    assert is_right("one", 1000, fingerprint("one", 999))
    assert is_right("one", 999, fingerprint("one", 1000))
    assert not is_right("one", 1000, fingerprint("one", 998))
    assert not is_right("one", 998, fingerprint("one", 1000))


@pytest.mark.parametrize("sign", [1, -1])
def test_one_unit_of_the_third_digit_is_right_and_two_are_not(sign):
    expected = fingerprint("one", sign * 25_000)
    for answer, right in ((24_800, False), (24_900, True), (25_100, True), (25_200, False)):
        assert is_right("one", sign * answer, expected) is right


def test_fingerprints_written_in_notebooks_stay_valid():
    """The hash of the name, three digits and a power of ten, cut to twelve characters."""
    written = hashlib.sha256(b"an exercise:440e5").hexdigest()[:12]
    assert fingerprint("an exercise", 44_040_192) == written


def test_the_largest_numbers_are_numbers():
    for answer in (LARGEST_NUMBER, -LARGEST_NUMBER):
        assert is_right("one", answer, fingerprint("one", answer))


def test_check_says_what_happened(capsys):
    expected = fingerprint("one", 250.46)
    assert check("one", ..., expected) is None
    assert "three dots" in capsys.readouterr().out
    assert check("one", 250.5, expected) is True
    assert capsys.readouterr().out == "one: right (you said 250.5)\n"
    assert check("one", 500, expected) is False
    assert "one: not yet" in capsys.readouterr().out


@pytest.mark.parametrize("answer", ["44", None, True, math.nan, math.inf, 10**400])
def test_an_answer_that_is_no_number_is_refused(answer):
    with pytest.raises(ValueError, match="one: expected a number"):
        check("one", answer, fingerprint("one", 1))
