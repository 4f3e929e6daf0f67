"""Figures of the ledger in the text: two roles, links to ledger rows, and the style of the bibliography.

    {fact}`v3.total_pub`             671 billion parameters [DeepSeek-AI, 2024a]
    {fact-number}`v3.total_pub`     671
    [671 billion](../book/ledger.md#v3.total_pub)

All three become links to the figure's row on the ledger page, with a tooltip that says where it
comes from. An id that is not in the ledger is an error.

    {quote}`sa.capex`                “the total server CapEx for DeepSeek is ~$1.6B” [Patel et al., 2025]

prints what a ledger entry quotes, word for word, or a sentence of `book/quotations.toml`, with source and standing.
"""

import re
import tomllib
from collections import Counter
from pathlib import Path

from docutils import nodes
from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as UnsrtStyle
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from pybtex.style.template import field, sentence
from sphinx import addnodes
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxRole
from sphinx.util.nodes import make_refnode
from sphinx.writers.html5 import HTML5Translator
from sphinxcontrib.bibtex.roles import CiteRole

from deepseek_explained import facts

KEYS = re.compile(r"[\w:.+-]+(\s*,\s*[\w:.+-]+)*")


def cites(figure):
    """True if the figure's source is keys of the bibliography, False if it is a sentence."""
    return bool(KEYS.fullmatch(figure.source))


def citation(figure, lineno, inliner):
    """The nodes that {cite} gives for the figure's source; a source that is not a key is plain text."""
    if not cites(figure):
        return [nodes.Text(figure.source)]
    keys = figure.source
    return CiteRole()("cite:p", f"{{cite}}`{keys}`", keys, lineno, inliner)[0]


def fact_link(figure, label, env):
    """A link to the figure's row, resolved when all pages are known."""
    env.note_dependency(str(facts.LEDGER_PATH))
    where = {"refdomain": "", "reftype": "fact", "reftarget": figure.id, "refdoc": env.docname}
    return addnodes.pending_xref("", label, refexplicit=True, refwarn=True, **where)


class FactRole(SphinxRole):
    """{fact}: number, unit and citation; {fact-number}: the number. Both say what was not seen."""

    def __init__(self, number_only=False):
        super().__init__()
        self.number_only = number_only

    def run(self):
        try:
            figure = facts.fact(self.text.strip())
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        text = str(figure)
        if self.number_only:
            text = figure.number + text.removeprefix(f"{figure.number} {figure.unit}".strip())
        link = fact_link(figure, nodes.inline(text, text, classes=["fact"]), self.env)
        if self.number_only or not cites(figure):
            return [link], []
        return [link, nodes.Text(" "), *citation(figure, self.lineno, self.inliner)], []


def quotation(identifier, folder):
    """(text, figure or table) of a quotation: a ledger entry's `quote`, or an entry of quotations.toml."""
    if identifier in facts.ledger():
        figure = facts.fact(identifier)
        if not figure.quote:
            raise ValueError(f"{identifier}: quote: this ledger entry quotes nothing")
        return figure.quote, figure.source, figure.locator, figure.standing, figure
    path = folder / "quotations.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    if identifier not in tables:
        raise ValueError(f"{identifier}: neither in the ledger nor in quotations.toml")
    entry = tables[identifier]
    fields = {"text", "source", "locator", "date", "standing"}
    if set(entry) != fields or entry["standing"] not in facts.STANDINGS:
        raise ValueError(f"{identifier}: expected the fields {', '.join(sorted(fields))}")
    return entry["text"], entry["source"], entry["locator"], entry["standing"], None


class QuoteRole(SphinxRole):
    """{quote}: the words of a source, as recorded, with citation, place and standing."""

    def run(self):
        folder = Path(self.env.srcdir) / "book"
        self.env.note_dependency(str(folder / "quotations.toml"))
        try:
            text, source, locator, standing, figure = quotation(self.text.strip(), folder)
        except ValueError as error:
            message = self.inliner.reporter.error(str(error), line=self.lineno)
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        words = nodes.inline("", f"“{text}”", classes=["quotation"])
        shown = fact_link(figure, words, self.env) if figure else words
        cited = CiteRole()("cite:p", f"{{cite}}`{source}`", source, self.lineno, self.inliner)[0]
        shown_as = {facts.STANDINGS[0]: "", facts.STANDINGS[1]: "; read in a copy"}
        place = (f", {locator}" if locator else "") + shown_as.get(standing, f"; {standing}")
        return [shown, nodes.Text(" "), *cited, nodes.Text(place)], []


class LedgerLinks(SphinxTransform):
    """Turn links to `ledger.md#id` into links to that row. What is no id stays for MyST to judge."""

    default_priority = 900

    def apply(self, **kwargs):
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get("refdomain") != "doc" or node["reftarget"] != self.config.book_ledger_doc:
                continue
            if node["reftargetid"] in facts.ledger():
                label = nodes.inline("", "", *node.children, classes=["fact"])
                node.replace_self(fact_link(facts.fact(node["reftargetid"]), label, self.env))


def describe(figure, env):
    """The tooltip: the figure, what it counts, its source and place, and how well we know it."""
    labels = {entry.key: entry.formatted_entry.label for entry in env.get_domain("cite").citations}
    source = ", ".join(labels.get(key.strip(), key.strip()) for key in figure.source.split(","))
    place = ", ".join(part for part in (source, figure.locator, figure.date) if part)
    return f"{figure!s}: {figure.counts.rstrip('.')}. {place.rstrip('.')}. {figure.standing.capitalize()}."


def resolve_fact(app, env, node, label):
    """Give a link to a figure its address and its tooltip."""
    if node.get("reftype") != "fact":
        return None
    figure = facts.fact(node["reftarget"])
    page, tooltip = env.config.book_ledger_doc, describe(figure, env)
    return make_refnode(app.builder, node["refdoc"], page, figure.id, label, tooltip)


class AuthorYearLabels(BaseLabelStyle):
    """Labels such as `DeepSeek-AI, 2024a`: two reports of one year are told apart."""

    def format_labels(self, sorted_entries):
        labels = [self.format_label(entry) for entry in sorted_entries]
        seen, total = Counter(), Counter(labels)
        for label in labels:
            seen[label] += 1
            yield label + (letters(seen[label]) if total[label] > 1 else "")

    def format_label(self, entry):
        people = entry.persons.get("author") or entry.persons.get("editor") or []
        names = [" ".join(person.prelast_names + person.last_names) for person in people]
        if not names:
            title = entry.fields.get("title", entry.key).split()
            start = " ".join(title[:4]) + (" …" if len(title) > 4 else "")
            names = [entry.fields.get("organization") or start]
        elif len(names) > 2 or names[-1] == "others":
            names = [f"{names[0]} et al."]
        year = entry.fields.get("year", "n.d.").replace("--", "–")
        return re.sub(r"[{}\\]", "", " and ".join(names)) + ", " + year


def letters(number):
    """1 is a, 26 is z, 27 is aa."""
    number, rest = divmod(number - 1, 26)
    return (letters(number) if number else "") + chr(ord("a") + rest)


class LabelOrder(BaseSortingStyle):
    """Sort the bibliography by what its labels say, then by title."""

    def sorting_key(self, entry):
        return AuthorYearLabels().format_label(entry).lower(), entry.fields.get("title", "")


class BookStyle(UnsrtStyle):
    """The bibliography: labels by author and year, sorted by them, titles in their own capitals."""

    default_sorting_style = "by_label"
    default_label_style = "author_year"

    def format_title(self, entry, which_field, as_sentence=True):
        title = field(which_field)
        return sentence[title] if as_sentence else title


def visit_citation(translator, node):
    """An entry of the bibliography as an item of its list: the role that docutils gives it is deprecated."""
    HTML5Translator.visit_citation(translator, node)
    translator.body[-1] = translator.body[-1].replace("doc-biblioentry", "listitem")


def setup(app):
    register_plugin("pybtex.style.labels", "author_year", AuthorYearLabels)
    register_plugin("pybtex.style.sorting", "by_label", LabelOrder)
    register_plugin("pybtex.style.formatting", "book", BookStyle)
    app.add_config_value("book_ledger_doc", "book/ledger", "env")
    app.add_role("fact", FactRole())
    app.add_role("fact-number", FactRole(number_only=True))
    app.add_role("quote", QuoteRole())
    app.add_transform(LedgerLinks)
    entry = (visit_citation, HTML5Translator.depart_citation)
    app.add_node(nodes.citation, override=True, html=entry)
    app.connect("missing-reference", resolve_fact)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
