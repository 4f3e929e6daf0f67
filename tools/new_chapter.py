"""Begin a chapter: `python tools/new_chapter.py NAME "Title"` writes a notebook that passes every check, to be changed.

It has all parts of a chapter, each with one example of its form: an exported function, a check, a figure, a
comparison with the ledger, exercises, a self-test. `_toc.yml` and `pyproject.toml` get their lines.
"""

import argparse
import json
import re
import sys
from pathlib import Path

import nbformat
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from deepseek_explained.exercises import fingerprint

ROOT = Path(__file__).resolve().parent.parent
EXCLUDED = '    "deepseek_explained/{}.py",\n'

OPENING = """# {title}

## The claim

Say what the article claims, and which question follows.

**At the end you can** say what a double is and count one.

**The core path** takes about 30 minutes: skip whatever is folded away. You need nothing from other chapters."""

PLUMBING = """from deepseek_explained.config import published_config
from deepseek_explained.exercises import check
from deepseek_explained.facts import compare, fact
from deepseek_explained.figures import SERIES, new_figure, show, show_comparisons

tiny = published_config("tiny")"""

FIGURE = """numbers = [1, 2, tiny["num_hidden_layers"]]
figure, axes = new_figure(height=2)
doubles = [double(number) for number in numbers]
axes.bar([str(number) for number in numbers], doubles, color=SERIES[0])
axes.set_ylabel("twice the number")
show(
    figure,
    alt=f"Three bars, each twice as high as its number: {doubles}.",
    caption="Computed by the cell above.",
    header=("number", "twice"),
    rows=list(zip(numbers, doubles, strict=True)),
)"""

MODULE = """#| default_exp {name}
#| export
\"\"\"One sentence on what this module computes.\"\"\"

from deepseek_explained.config import finite_number"""

FUNCTION = """#| export
def double(number: float) -> float:
    \"\"\"Twice a number. Raises ValueError naming `number` if it is not a finite number above 0.\"\"\"
    return 2 * finite_number("number", number)"""

COMPARISON = """layers = fact("v3.layers").value
show_comparisons([compare("v3.layers", double(layers / 2), circular=True)])"""

EXERCISE = """### {number}. {title} (5 minutes)

What is twice {asked}?

<details class="hint"><summary>Hint</summary>

Add the number to itself.

</details>"""

QUESTION = """{number}. What is twice {asked}?

{pad}- **A.** {options[0]}
{pad}- **B.** {options[1]}
{pad}- **C.** {options[2]}

{pad}<details class="answer"><summary>Answer</summary>

{pad}**{right}.** Twice a number is the number added to itself: `{asked} + {asked} = {answer}`. {wrong} adds one \
instead of the number, which comes to the same only for one. A test asks for reasons of some length.

{pad}</details>"""

PROMPT = """{number}. Why is twice a number never smaller than the number, if it is above zero? Say it in way {number}.

   <details class="answer"><summary>A model answer</summary>

   Twice a number is the number and the number again. What is added is above zero. Adding something above zero makes \
a sum larger. So the sum is larger than what we began with.

   </details>"""


def code(source: str, *tags: str):
    return new_code_cell(source, metadata={"tags": list(tags)} if tags else {})


def exercise(number: int) -> list:
    title, name = ("Break it", "break it") if number == 6 else ("By hand", f"by hand {number}")
    mark = fingerprint(name, 2 * number)
    return [
        new_markdown_cell(EXERCISE.format(number=number, title=title, asked=number)),
        code(f'answer = ...\ncheck("{name}", answer, "{mark}")', "exercise"),
        code(
            f'answer = double({number})\nassert check("{name}", answer, "{mark}")',
            "solution",
            "hide-cell",
        ),
    ]


def question(number: int) -> str:
    """Question `number` of the self-test; the right answer moves from A to C."""
    asked, place = number + 1, number % 3
    options = [asked + 1, 3 * asked]
    options.insert(place, 2 * asked)
    return QUESTION.format(
        number=number,
        asked=asked,
        options=options,
        answer=2 * asked,
        right="ABC"[place],
        wrong="ABC"[options.index(asked + 1)],
        pad=" " * (len(str(number)) + 2),
    )


def chapter(name: str, title: str) -> nbformat.NotebookNode:
    """The notebook."""
    test = "## Test yourself\n\n" + "\n\n".join(map(question, range(1, 11)))
    prompts = "\n\n".join(PROMPT.format(number=number) for number in (1, 2, 3))
    cells = [
        new_markdown_cell(OPENING.format(title=title)),
        code(PLUMBING, "hide-input"),
        new_markdown_cell("## The idea\n\nThe picture and the worked example."),
        new_markdown_cell(
            "## The mathematics\n\n$$y = 2 x$$\n\n$x$ is a number, $y$ is twice as much."
        ),
        new_markdown_cell("## Build it"),
        code(MODULE.format(name=name), "hide-input"),
        code(FUNCTION),
        code(FIGURE),
        new_markdown_cell("## Check it\n\nAgainst something independent: here, addition."),
        code("assert all(double(number) == number + number for number in range(1, 100))"),
        new_markdown_cell("## Measure it\n\nThree seeds or more, with their spread."),
        new_markdown_cell("## What it costs\n\nDerived beside published."),
        code(COMPARISON),
        new_markdown_cell("## Commonly believed\n\n**Twice is plus one.** Only for one."),
        new_markdown_cell("## The verdict\n\nWhat holds of the claim."),
        new_markdown_cell("## Exercises"),
        *(cell for number in range(1, 7) for cell in exercise(number)),
        new_markdown_cell("## Further reading\n\n- {cite:t}`dsv3`: why it is worth reading."),
        new_markdown_cell(test),
        new_markdown_cell(f"## Explain it back\n\nAnswer aloud before you open ours.\n\n{prompts}"),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "execution": {"timeout": 150}}
    return new_notebook(cells=cells, metadata=metadata)


def begin(name: str, title: str, root: Path = ROOT) -> Path:
    """Write the notebook and its lines. Raises ValueError naming what is wrong; overwrites nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError(f"NAME: expected lower-case letters, digits and _, got {name!r}")
    if not title.strip():
        raise ValueError("TITLE: expected some words, got none")
    path, module = root / "notebooks" / f"{name}.ipynb", root / "deepseek_explained" / f"{name}.py"
    for there in (path, module):
        if there.exists():
            raise ValueError(f"NAME: expected a new one; {there.relative_to(root)} exists")
    toc, project = root / "_toc.yml", root / "pyproject.toml"
    contents, settings = toc.read_text(encoding="utf-8"), project.read_text(encoding="utf-8")
    last = re.findall(r"^ +- file: notebooks/\w+\n", contents, flags=re.MULTILINE)[-1]
    line = re.sub(r"notebooks/\w+", f"notebooks/{name}", last)
    excluded = re.findall(r'^    "deepseek_explained/\w+\.py",\n', settings, flags=re.MULTILINE)[-1]
    text = json.dumps(chapter(name, title.strip()), indent=1, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")
    toc.write_text(contents.replace(last, last + line), encoding="utf-8")
    added = excluded + EXCLUDED.format(name)
    project.write_text(settings.replace(excluded, added), encoding="utf-8")
    return path


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", metavar="NAME")
    parser.add_argument("title", metavar="TITLE")
    options = parser.parse_args()
    try:
        path = begin(options.name, options.title)
    except ValueError as error:
        print(f"new_chapter: {error}", file=sys.stderr)
        return 2
    print(f"{path.relative_to(ROOT)}: change it, then `make chapter C={options.name}`")
    return 0


if __name__ == "__main__":
    sys.exit(main())
