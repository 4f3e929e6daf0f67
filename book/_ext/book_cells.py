"""Code cells on the page: nbdev's lines hidden, prompts that say what is folded, what a run costs.

Under the title of a chapter stands which of the chapters it is, on which it builds, how long reading takes, what
running it took ("about 42 s and 0.9 GB of memory, measured when this page was built (2 cores, Linux x86_64,
Python 3.11)"), and the notebook to download. The role {run-cost}`budget` prints what running took elsewhere,
{reading}`budget` the minutes that reading and exercises take.
"""

import html
import json
import re
import sys
from collections import Counter
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxRole

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import contents

PROJECT_ZIP = "deepseek-explained.zip"  # at the top of the site: all that one needs to run the book
DIRECTIVES = re.compile(r"\A(?:[ \t]*(?:#[ \t]*\|[^\n]*)?(?:\n|\Z))+")

PROMPTS = {"all": "code", "input": "code", "output": "output", "input+output": "{type}"}


class CodeCells(SphinxTransform):
    """Drop the `#| export` lines at the head of a cell, drop cells that are then empty, and name what is folded."""

    default_priority = 300

    def apply(self, **kwargs):
        for cell in list(self.document.findall(nodes.container)):
            if cell.get("nb_element") == "cell_code":
                self.hide_directives(cell)
                self.name_prompt(cell)
                if not cell.children:
                    cell.parent.remove(cell)

    def hide_directives(self, cell):
        for block in [
            child for child in cell.children if child.get("nb_element") == "cell_code_source"
        ]:
            for code in list(block.findall(nodes.literal_block)):
                text = DIRECTIVES.sub("", code.astext())
                if text.strip():
                    code.rawsource = text
                    code.children = [nodes.Text(text)]
                else:
                    cell.remove(block)

    def name_prompt(self, cell):
        """A cell tagged `solution` is folded away whole, whatever else its tags say."""
        metadata = cell.get("cell_metadata", {})
        solution = "solution" in metadata.get("tags", [])
        if solution:
            cell["hide_mode"] = "all"
        if "hide_mode" in cell:
            own = metadata.get("mystnb", {})
            what = "solution" if solution else PROMPTS[cell["hide_mode"]]
            cell["prompt_show"] = own.get("code_prompt_show", f"Show the {what}")
            cell["prompt_hide"] = own.get("code_prompt_hide", f"Hide the {what}")


# What a chapter's reader does not see at first, what in its source is not read, and how fast the rest is read.
FOLDED = {"hide-input", "hide-cell", "solution", "remove-input", "remove-cell"}
MARKUP = re.compile(r"\]\([^)]*\)|<[^>]+>")
WORDS_A_MINUTE, LINES_A_MINUTE = 200, 60


def open_folded(translator, node):
    """MyST-NB's fold, with the visible prompt as its name (MyST-NB gives all of them one and the same label)."""
    translator.body.append(
        f'<details class="admonition hide {" ".join(node["classes"])}">\n<summary>'
        f'<p class="collapsed admonition-title">{html.escape(node["prompt_show"])}</p>'
        f'<p class="expanded admonition-title">{html.escape(node["prompt_hide"])}</p></summary>\n'
    )


def close_folded(translator, node):
    translator.body.append("</details>\n")


def describe_run(record):
    """The sentence for one measurement, as tools/notebooks.py writes it."""
    seconds, size = record["seconds"], record["peak_bytes"]
    time = f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
    memory = f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"
    cores = f"{record['cores']} core{'' if record['cores'] == 1 else 's'}"
    machine = f"{cores}, {record['machine']}, Python {record['python']}"
    return f"about {time} and {memory} of memory, measured when this page was built ({machine})"


def run_cost(env, chapter):
    """Time and memory of one notebook, measured by the run whose output the page shows, as nodes."""
    path = Path(env.srcdir) / "_build" / "executed" / f"{chapter}.json"
    env.note_dependency(str(path))
    if path.is_file():
        return [nodes.Text(describe_run(json.loads(path.read_text(encoding="utf-8"))))]
    command = nodes.literal("", "make book")
    return [nodes.Text("not measured in this build: "), command, nodes.Text(" measures it")]


class RunCost(SphinxRole):
    def run(self):
        return run_cost(self.env, self.text.strip()), []


class Reading(SphinxRole):
    def run(self):
        path = Path(self.env.srcdir) / "notebooks" / f"{self.text.strip()}.ipynb"
        self.env.note_dependency(str(path))
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        shown, _, exercises = reading_minutes(cells)
        return [nodes.Text(f"{shown}; {exercises}")], []


def add_script(app, pagename, templatename, context, doctree):
    """Chapters end with a self-test, which `_static/selftest.js` makes forms of."""
    if pagename.startswith("notebooks/"):
        app.add_js_file("selftest.js", loading_method="defer")


def reading_minutes(cells):
    """Minutes for what is open, for what is folded away, and for the exercises by their own estimates.

    Words at WORDS_A_MINUTE, lines of code at LINES_A_MINUTE; what is open rounded to five minutes.
    """
    minutes, exercises, depth, in_exercises = Counter(), 0, 0, False
    for cell in cells:
        text = "".join(cell["source"])
        if cell["cell_type"] == "code":
            folded = depth > 0 or FOLDED & set(cell["metadata"].get("tags", []))
            lines = sum(1 for line in DIRECTIVES.sub("", text).splitlines() if line.strip())
            part = "exercises" if in_exercises else "folded" if folded else "open"
            minutes[part] += lines / LINES_A_MINUTE
            continue
        for line in text.splitlines():
            if line.startswith("## "):
                in_exercises = line.startswith("## Exercises")
            if in_exercises and (estimate := re.match(r"### .*?(\d+) minutes", line)):
                exercises += int(estimate.group(1))
            depth += line.count("<details")
            part = "exercises" if in_exercises else "folded" if depth else "open"
            words = re.findall(r"\w+", MARKUP.sub(" ", line))
            minutes[part] += len(words) / WORDS_A_MINUTE
            depth -= line.count("</details")
    return *(5 * max(round(minutes[part] / 5), 1) for part in ("open", "folded")), exercises


def chapter_link(env, chapter):
    """A link to a chapter that shows its title."""
    return addnodes.pending_xref(
        "",
        nodes.inline("", chapter),
        reftype="doc",
        refdomain="std",
        reftarget=f"/notebooks/{chapter}",
        refexplicit=False,
        refwarn=True,
        refdoc=env.docname,
    )


class ChapterHead(SphinxTransform):
    """Under the title of each notebook: where it stands, what it needs, how long it takes, and the notebook itself."""

    default_priority = 310

    def apply(self, **kwargs):
        folder, _, chapter = self.env.docname.rpartition("/")
        title = next(iter(self.document.findall(nodes.title)), None)
        if folder == "notebooks" and title is not None:
            lines = [
                *self.place(chapter),
                *self.reading(),
                self.running(chapter),
                self.download(chapter),
            ]
            items = [nodes.list_item("", nodes.paragraph("", "", *line)) for line in lines]
            head = nodes.bullet_list("", *items, classes=["chapter-head"])
            title.parent.insert(title.parent.index(title) + 1, head)

    def cells(self):
        path = Path(self.env.doc2path(self.env.docname))
        return json.loads(path.read_text(encoding="utf-8"))["cells"]

    def place(self, chapter):
        """Its number among the chapters, and the earlier ones that its code imports."""
        self.env.note_dependency(str(Path(self.env.srcdir) / "_toc.yml"))
        chapters = contents.chapters(Path(self.env.srcdir) / "_toc.yml")
        if chapter not in chapters:
            return
        position = chapters.index(chapter)
        line = [nodes.Text(f"Chapter {position + 1} of {len(chapters)}")]
        code = "".join(
            "".join(cell["source"]) for cell in self.cells() if cell["cell_type"] == "code"
        )
        imported = set(re.findall(r"^from deepseek_explained\.(\w+) import", code, re.MULTILINE))
        needed = [name for name in chapters[:position] if name in imported]
        for number, name in enumerate(needed):
            line += [nodes.Text("; " if number else ". Builds on: "), chapter_link(self.env, name)]
        yield [*line, nodes.Text(".")]

    def reading(self):
        shown, folded, exercises = reading_minutes(self.cells())
        more = f"; its exercises: {exercises} minutes" if exercises else ""
        text = f"Reading: about {shown} minutes, {folded} more with what is folded away{more}."
        yield [nodes.Text(text)]

    def running(self, chapter):
        return [nodes.Text("Running: "), *run_cost(self.env, chapter), nodes.Text(".")]

    def download(self, chapter):
        address = f"../_sources/{self.env.docname}.ipynb"
        links = (
            f'<a href="{address}" download>Download this chapter as a notebook</a>, '
            f'or <a href="../{PROJECT_ZIP}" download>all that it needs to run</a>'
        )
        return [nodes.raw("", links, format="html")]


def setup(app):
    app.setup_extension("myst_nb")
    app.add_transform(CodeCells)
    app.add_transform(ChapterHead)
    app.add_role("run-cost", RunCost())
    app.add_role("reading", Reading())
    app.connect("html-page-context", add_script)
    app.add_js_file("aids.js", loading_method="defer")
    app.add_node(HideCodeCellNode, override=True, html=(open_folded, close_folded))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
