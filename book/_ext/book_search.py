"""The search of the site: by section instead of by page, ranked by how much a section is about the words.

After the build the text of every section, glossary entry and ledger entry is written to `_static/sections.js`; the
search page loads it with `_static/search.js` in place of Sphinx's own search. Both are scripts, so that the search
also works from a folder without a server.
"""

import json
import re
from pathlib import Path

import book_delivery as delivery
from docutils import nodes
from sphinx import addnodes

SCRIPTS = ("unpack.js", "sections.js", "search.js")
REPLACED = re.compile(
    r"[ \t]*<script[^>]*(?:searchtools|language_data|searchindex)\.js[^>]*></script>\n?"
)
LONGEST = 4000  # characters of a section that are searched; longer ones are tables
UNSEEN = (nodes.raw, nodes.comment, nodes.system_message, addnodes.toctree)


def entry_id(node):
    """The anchor of a node that is a search result of its own, or None."""
    if isinstance(node, nodes.section) or "ledger-entry" in node.get("classes", []):
        return node["ids"][0]
    if isinstance(node, nodes.definition_list_item):  # a glossary entry
        return next(
            (identifier for term in node.findall(nodes.term) for identifier in term["ids"]), None
        )
    return None


def title_of(node):
    """What the result is called."""
    if isinstance(node, nodes.section):
        return node.next_node(nodes.title).astext()
    kind = nodes.term if isinstance(node, nodes.definition_list_item) else nodes.paragraph
    return node.next_node(kind).astext()


def collect(node, prose, code, inner):
    """Sort what stands under a node into prose, code and the results further inside."""
    for child in node.children:
        if isinstance(child, nodes.Element) and child.get("nb_element") == "cell_code_output":
            continue  # numbers and drawings; the prose around them says what they are
        if isinstance(child, nodes.Element) and entry_id(child):
            inner.append(child)
        elif isinstance(child, nodes.literal_block):
            code.append(child.astext())
        elif isinstance(child, nodes.math_block) or (
            isinstance(child, nodes.TextElement)
            and not isinstance(child, (nodes.title, nodes.term))
        ):
            prose.append(child.astext())
        elif isinstance(child, nodes.Element) and not isinstance(child, (*UNSEEN, nodes.title)):
            collect(child, prose, code, inner)


def sections(page, page_title, node):
    """Rows of page, its title, anchor, title, prose, names in code: one for the node, one for each result inside."""
    prose, code, inner = [], [], []
    collect(node, prose, code, inner)
    anchor = "" if node.parent and isinstance(node.parent, nodes.document) else entry_id(node)
    text = " ".join(" ".join(prose).split())[:LONGEST]
    names = " ".join(sorted(set(re.findall(r"[A-Za-z_]{3,}", " ".join(code)))))
    yield [page, page_title, anchor, title_of(node), text, names]
    for child in inner:
        yield from sections(page, page_title, child)


def write(app, exception):
    """Write the sections and have the search page load them."""
    search_page = Path(app.outdir) / "search.html"
    if exception or app.builder.format != "html" or not search_page.is_file():
        return
    rows = []
    for page in sorted(app.env.found_docs):
        doctree = app.env.get_doctree(page)
        for top in (child for child in doctree.children if isinstance(child, nodes.section)):
            rows += sections(page, app.env.titles[page].astext(), top)
    data = json.dumps(rows, ensure_ascii=False, separators=(",", ":"))
    static = Path(app.outdir) / "_static"
    (static / "sections.js").write_text(
        f"const SECTIONS = {delivery.packed(data)};\n", encoding="utf-8"
    )
    text = REPLACED.sub("", search_page.read_text(encoding="utf-8"))
    if "sections.js" not in text:
        tags = "".join(f'  <script defer src="_static/{name}"></script>\n' for name in SCRIPTS)
        text = text.replace("</head>", f"{tags}</head>", 1)
    search_page.write_text(text, encoding="utf-8")


def setup(app):
    app.connect("build-finished", write, priority=300)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
