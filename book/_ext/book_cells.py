"""Code cells on the page: nbdev's lines hidden, prompts that say what is folded, what a run costs.

Under the title of a chapter stands what running it took: "about 42 s and 0.9 GB of memory, measured
when this page was built (2 cores, Linux x86_64, Python 3.11)". The role {run-cost}`budget` prints the
same elsewhere.
"""

import html
import json
import re
from pathlib import Path

from docutils import nodes
from myst_nb.sphinx_ import HideCodeCellNode
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxRole

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


def add_script(app, pagename, templatename, context, doctree):
    """Chapters end with a self-test, which `_static/selftest.js` makes forms of."""
    if pagename.startswith("notebooks/"):
        app.add_js_file("selftest.js", loading_method="defer")


class ChapterHead(SphinxTransform):
    """Under the title of each notebook: what running it took."""

    default_priority = 310

    def apply(self, **kwargs):
        folder, _, chapter = self.env.docname.rpartition("/")
        title = next(iter(self.document.findall(nodes.title)), None)
        if folder == "notebooks" and title is not None:
            line = nodes.paragraph("", "Running this chapter: ", classes=["run-cost"])
            line += run_cost(self.env, chapter)
            line += nodes.Text(".")
            title.parent.insert(title.parent.index(title) + 1, line)


def setup(app):
    app.setup_extension("myst_nb")
    app.add_transform(CodeCells)
    app.add_transform(ChapterHead)
    app.add_role("run-cost", RunCost())
    app.connect("html-page-context", add_script)
    app.add_node(HideCodeCellNode, override=True, html=(open_folded, close_folded))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
