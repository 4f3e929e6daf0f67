"""Self-tests and "explain it back" of every chapter: their form, their right answers, their calculations."""

import ast
import json
import operator
import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
by_chapter = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

ITEM = re.compile(r"^(\d+)\. +(?=\S)", re.MULTILINE)
OPTION = re.compile(r"^ +- \*\*([A-D])\.\*\* (.+)$", re.MULTILINE)
FOLDED = re.compile(
    r'^ +<details class="answer"><summary>(.+)</summary>\n\n(.+)\n\n +</details>$',
    re.MULTILINE | re.DOTALL,
)


def section(path, title):
    """The one cell under a heading, as a list of its numbered items."""
    content = json.loads(path.read_text(encoding="utf-8"))
    sources = ["".join(cell["source"]) for cell in content["cells"]]
    (text,) = [source for source in sources if source.startswith(f"## {title}\n")]
    pieces = ITEM.split(text)
    items = [piece.rstrip() for piece in pieces[2::2]]
    assert pieces[1::2] == [str(n + 1) for n in range(len(items))]
    return items


def question(item):
    """(question, {letter: option}, letter of the right one, explanation), or AssertionError with what is wrong."""
    blocks = re.split(r"\n\n", item, maxsplit=2)
    assert len(blocks) == 3, f"expected question, options, answer: {item}"
    asked, options, answer = blocks
    assert "\n" not in asked, f"expected a question of one paragraph: {asked}"
    found = OPTION.findall(options)
    assert len(found) == len(options.splitlines()), f"expected one line for each option: {options}"
    letters = [letter for letter, _ in found]
    assert letters in (list("ABC"), list("ABCD")), f"expected three or four options: {asked}"
    texts = [" ".join(text.lower().rstrip(".").split()) for _, text in found]
    assert len(set(texts)) == len(texts), f"two options are the same: {asked}"
    folded = FOLDED.fullmatch(answer)
    assert folded and folded[1] == "Answer", f"expected a folded answer: {asked}"
    explanation = folded[2].strip()
    right = re.match(r"\*\*([A-D])\.\*\* (?=\S)", explanation)
    assert right and right[1] in letters, f"expected an answer that begins with **A.**: {asked}"
    assert len(re.findall(r"\*\*[A-D]\.\*\*", explanation)) == 1, f"two right answers: {asked}"
    return asked, dict(found), right[1], explanation[right.end() :]


@by_chapter
def test_a_self_test_has_ten_sound_questions(path):
    questions = [question(item) for item in section(path, "Test yourself")]
    assert len(questions) == 10
    assert len({asked for asked, *_ in questions}) == 10
    for asked, options, right, explanation in questions:
        assert len(explanation.split()) >= 25, f"expected an explanation: {asked}"
        wrong = set(options) - {right}
        assert wrong & set(re.findall(r"\b[A-D]\b", explanation)), f"no wrong answer named: {asked}"
    places = Counter(right for _, _, right, _ in questions)
    assert len(places) >= 3 and max(places.values()) <= 5, places


def longest_is_right(options, right):
    """Whether the right option is longer than every other; None unless all options are worded."""
    if not all(len(re.findall(r"[^\W\d_]{2,}", text)) >= 2 for text in options.values()):
        return None
    return all(
        len(options[right]) > len(text) for letter, text in options.items() if letter != right
    )


def test_the_longest_option_is_no_guide():
    items = [item for path in NOTEBOOKS for item in section(path, "Test yourself")]
    guesses = [longest_is_right(options, right) for _, options, right, _ in map(question, items)]
    worded = [guess for guess in guesses if guess is not None]
    assert len(worded) > 30
    assert sum(worded) <= 0.4 * len(worded)


def test_which_option_is_the_longest():
    options = {"A": "it grows", "B": "it grows a lot", "C": "it falls"}
    assert longest_is_right(options, "B")
    assert not longest_is_right(options, "A")
    assert not longest_is_right(options | {"C": "it grows a bit"}, "B")
    assert longest_is_right(options | {"C": "0.5"}, "B") is None


SOUND = """What is it?

   - **A.** this
   - **B.** that
   - **C.** neither

   <details class="answer"><summary>Answer</summary>

   **B.** It is that, because of this.

   </details>"""


@pytest.mark.parametrize(
    "old, new",
    [
        ("What is it?", "What is it?\n\n   More."),
        ("   - **C.** neither\n", ""),
        ("**C.** neither", "**C.** This."),
        ("   - **C.** neither", "   - **D.** neither"),
        ("   - **C.** neither", "   - **C.** neither\n     of them"),
        ("   **B.** It", "   It"),
        ("   **B.** It", "   **D.** It"),
        ("of this.", "of this. **C.** too."),
        ("<summary>Answer</summary>", ""),
    ],
)
def test_an_unsound_question_is_found(old, new):
    assert question(SOUND)[2:] == ("B", "It is that, because of this.")
    assert old in SOUND
    with pytest.raises(AssertionError):
        question(SOUND.replace(old, new))


@by_chapter
def test_three_prompts_to_explain_each_with_an_answer_to_speak(path):
    items = section(path, "Explain it back")
    assert len(items) == 3
    for item in items:
        prompt, answer = item.split("\n\n", 1)
        folded = FOLDED.fullmatch(answer)
        assert folded and folded[1] == "A model answer", prompt
        sentences = re.findall(r"[.?!](?=\s|$)", folded[2])
        assert 5 <= len(sentences) <= 8, f"{len(sentences)} sentences: {prompt}"


# Calculations stand in code: `2 × 96 = 192`, `671 billion / 37 billion = 18`, `45 / 60 = 75 %`.
SCALES = {"%": "0.01", "thousand": "1e3", "million": "1e6", "billion": "1e9", "trillion": "1e12"}
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
NUMBER = re.compile(rf"(\d[\d,]*(?:\.\d+)?)(?: ?({'|'.join(SCALES)})(?!\w))?")


def value(node):
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](value(node.left), value(node.right))
    if isinstance(node, ast.UnaryOp):
        return -value(node.operand)
    return node.value


def evaluate(text):
    """The value of a sum in print. KeyError, SyntaxError or AttributeError if it is none."""
    plain = NUMBER.sub(
        lambda found: f"({found[1].replace(',', '')} * {SCALES.get(found[2], 1)})", text
    )
    for sign, code in (("×", "*"), ("−", "-"), ("^", "**")):
        plain = plain.replace(sign, code)
    return value(ast.parse(plain.strip(), mode="eval").body)


def miscalculated(text):
    """(calculations in a text, those of them that are wrong at the precision they are printed with)."""
    found = [span for span in re.findall(r"`([^`\n]+)`", text) if " = " in span]
    wrong = []
    for span in found:
        sides = span.split(" = ")
        exact = evaluate(sides[0])
        for side in sides[1:]:
            number, scale = NUMBER.fullmatch(side.strip().lstrip("-−")).groups()
            decimals = len(number.partition(".")[2])
            half = 0.5 * 10**-decimals * float(SCALES.get(scale, 1))
            if abs(exact - evaluate(side)) > half * (1 + 1e-9):
                wrong.append(span)
    return found, wrong


@by_chapter
def test_calculations_come_out(path):
    found, wrong = miscalculated(
        "\n".join(section(path, "Test yourself") + section(path, "Explain it back"))
    )
    assert wrong == []
    assert len(found) >= 5


def test_a_wrong_calculation_is_found():
    sound = "`2 × (3 + 4) = 14` and `671 billion / 37 billion = 18` and `45 / 60 = 75 %` and `3 − 5 = -2`"
    assert miscalculated(sound) == (sound.strip("`").split("` and `"), [])
    assert miscalculated("`2 × 96 = 193`, `2 / 3 = 0.66`, `1 / 3 = 0.33`")[1] == [
        "2 × 96 = 193",
        "2 / 3 = 0.66",
    ]
