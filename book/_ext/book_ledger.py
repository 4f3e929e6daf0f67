"""The ledger page: `{ledger-table}` prints every figure, grouped by the first word of its id.

    ```{ledger-table}
    v3: DeepSeek-V3
    ```

Each line of the content names a group; a group without a line is named by its prefix.
`_static/ledger.js` adds a filter to the page; without it the whole table shows.
"""

import json
import re
from collections import defaultdict
from pathlib import Path

from book_facts import citation
from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

from deepseek_explained import facts

IN_TEXT = re.compile(r"\{fact(?:-number)?\}`\s*([^`]+?)\s*`|ledger\.md#([\w.-]+)")
IN_CODE = re.compile(r"""["']([a-z0-9._-]+)["']""")

OPTIONS = "".join(
    f'<option value="standing-{n}">{standing}</option>'
    for n, standing in enumerate(facts.STANDINGS)
)
FILTER = f"""<form class="ledger-filter" role="search" aria-label="Filter the ledger" hidden>
<label>Search <input type="search" autocomplete="off"></label>
<label>Standing <select><option value="">any</option>{OPTIONS}</select></label>
<output aria-live="polite"></output>
</form>"""


def ids_in(path):
    """Ids of the ledger that a page or notebook uses: in roles, in links, as strings in code."""
    text = Path(path).read_text(encoding="utf-8")
    code = ""
    if str(path).endswith(".ipynb"):
        cells = [(cell["cell_type"], "".join(cell["source"])) for cell in json.loads(text)["cells"]]
        text = "\n".join(source for kind, source in cells if kind == "markdown")
        code = "\n".join(source for kind, source in cells if kind == "code")
    found = {role or link for role, link in IN_TEXT.findall(text)} | set(IN_CODE.findall(code))
    return {identifier for identifier in found if identifier in facts.ledger()}


def uses(env):
    """Id of a figure -> the documents that use it, in the order of their names."""
    used = defaultdict(list)
    for document in sorted(env.found_docs - {env.config.book_ledger_doc}):
        for identifier in ids_in(env.doc2path(document)):
            used[identifier].append(document)
    return used


def linked(text):
    """A note as nodes, in which the ids of other figures are links to their rows."""
    for part in re.split(r"([a-z0-9]+(?:[._-][a-z0-9]+)+)", text):
        if part in facts.ledger():
            yield nodes.reference("", part, refid=part, internal=True)
        elif part:
            yield nodes.Text(part)


class LedgerTable(SphinxDirective):
    """The whole ledger as compact blocks, one per figure, each with its id as anchor."""

    has_content = True

    def run(self):
        try:
            figures = facts.ledger()
        except ValueError as error:
            raise self.error(str(error)) from None
        self.env.note_dependency(str(facts.LEDGER_PATH))
        titles = dict(line.split(":", 1) for line in self.content if ":" in line)
        groups = defaultdict(list)
        for figure in figures.values():
            groups[figure.id.split(".")[0]].append(figure)
        self.used = uses(self.env)
        sections = [
            self.section(prefix, titles.get(prefix, prefix).strip(), members)
            for prefix, members in groups.items()
        ]
        return [nodes.raw("", FILTER, format="html"), *sections]

    def section(self, prefix, title, figures):
        heading = nodes.title(title, title)
        section = nodes.section("", heading, ids=[f"ledger-{prefix}"], classes=["ledger-group"])
        self.state.document.note_explicit_target(section)
        section += [self.entry(figure) for figure in figures]
        return section

    def entry(self, figure):
        standing = f"standing-{facts.STANDINGS.index(figure.standing)}"
        entry = nodes.container(ids=[figure.id], classes=["ledger-entry", standing])
        self.state.document.note_explicit_target(entry)
        value = f"{figure.number} {figure.unit}".strip()
        link = nodes.reference("", "", nodes.literal("", figure.id), refid=figure.id, internal=True)
        head = [nodes.strong("", value), nodes.Text(" "), link]
        entry += nodes.paragraph("", "", *head, classes=["ledger-head"])
        entry += nodes.paragraph("", figure.counts)
        cited = citation(figure, self.lineno, self.state.inliner)
        place = "".join(f", {part}" for part in (figure.locator, figure.date) if part)
        source = nodes.paragraph(
            "", "", *cited, nodes.Text(f"{place}. "), classes=["ledger-source"]
        )
        source += nodes.inline("", figure.standing, classes=["standing"])
        entry += source
        if figure.quote:
            entry += nodes.paragraph("", f"“{figure.quote}”", classes=["ledger-quote"])
        for label, text in (("Why", figure.reason), ("Note", figure.note)):
            if text:
                entry += nodes.paragraph("", f"{label}: ", *linked(text), classes=["ledger-note"])
        if figure.id in self.used:
            entry += self.used_in(self.used[figure.id])
        return entry

    def used_in(self, documents):
        line = nodes.paragraph("", "Used in: ", classes=["ledger-note"])
        for position, document in enumerate(documents):
            where = {"refdomain": "std", "reftype": "doc", "refdoc": self.env.docname}
            title = nodes.inline("", document)  # replaced by the page's title
            line += nodes.Text("; " if position else "")
            line += addnodes.pending_xref(
                "", title, reftarget=f"/{document}", refexplicit=False, refwarn=True, **where
            )
        return line


def renew(app, env, added, changed, removed):
    """The ledger page says where figures are used: read it again when any page has changed."""
    page = env.config.book_ledger_doc
    return [page] if (added or changed or removed) and page in env.found_docs else []


def add_script(app, pagename, templatename, context, doctree):
    if pagename == app.config.book_ledger_doc:
        app.add_js_file("ledger.js", loading_method="defer")


def drop_tooltips(app, doctree, docname):
    """On the ledger page citations lose their tooltips, which repeat each source, and chapters their subtitles."""
    if docname == app.config.book_ledger_doc:
        for reference in doctree.findall(nodes.reference):
            reference.attributes.pop("reftitle", None)
            if reference.children and "doc" in getattr(reference[0], "attributes", {}).get(
                "classes", ()
            ):
                reference[:] = [nodes.Text(reference.astext().split(":")[0])]


def setup(app):
    app.setup_extension("book_facts")
    app.add_directive("ledger-table", LedgerTable)
    app.connect("env-get-outdated", renew)
    app.connect("html-page-context", add_script)
    app.connect("doctree-resolved", drop_tooltips)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
