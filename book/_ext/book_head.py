"""What pages say about themselves: description, citation, and, once the site has an address, its canonical address,
cards for social networks and a sitemap. Also the page that is shown where there is none.

A page's description is its first sentences, unless its metadata has one (`myst: html_meta: description:`).
"""

import html
import re
import textwrap
from functools import cache
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import yaml
from docutils import nodes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from sphinx.util.osutil import relative_uri

SHORTEST, LONGEST = 80, 200
CITATION = re.compile(r"\s*\[[^\[\]]*(?:\d{4}[a-z]?|n\.d\.)\]")
NOT_FOUND = "404"
CARD = (1200, 630)
PLACES = {
    "book/verdicts": "the answers in short",
    "book/scoreboard": "every published figure that is derived again",
    "book/glossary": "what the words mean",
    "book/ledger": "every published figure, with its source",
}


def shorten(text):
    """At most LONGEST characters: whole sentences if that leaves enough, else whole words."""
    if len(text) <= LONGEST:
        return text
    sentences = re.match(rf".{{{SHORTEST},{LONGEST - 1}}}[.?!](?= )", text)
    return sentences.group() if sentences else text[: LONGEST - 2].rsplit(" ", 1)[0] + " …"


def first_sentences(doctree):
    """What the page's text begins with, as one line; marked paragraphs (costs of a run and the like) left out."""
    text = ""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section) and not paragraph["classes"]:
            part = CITATION.sub("", " ".join(paragraph.astext().split()))
            text = f"{text}{'' if not text or text[-1] in '.?!:' else '.'} {part}".strip()
            if len(text) >= SHORTEST:
                break
    return shorten(text)


@cache
def citation_file(path):
    """CITATION.cff, or the little that a book without one has."""
    if not path.is_file():
        return {}
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def authors_of(cited, config):
    names = [
        entry.get("name") or f"{entry['given-names']} {entry['family-names']}"
        for entry in cited.get("authors", [])
    ]
    return names or [config.author]


def address_of(app, pagename):
    """Where the page will be read; empty while the site has no address."""
    base = app.config.html_baseurl
    if not base:
        return ""
    base = base.rstrip("/") + "/"
    return base if pagename == app.config.root_doc else urljoin(base, f"{pagename}.html")


def tag(attribute, name, content):
    return f'<meta {attribute}="{name}" content="{html.escape(str(content))}" />' if content else ""


def add_head(app, pagename, templatename, context, doctree):
    """Description, citation and cards in the page's head; the citation also as a line under its text."""
    config, metatags = app.config, context.get("metatags", "")
    title = html.unescape(re.sub(r"<[^>]+>", "", context.get("title", ""))) or config.html_title
    written = re.search(
        r'name="description"[^>]*content="([^"]*)"|content="([^"]*)"[^>]*name="description"',
        metatags,
    )
    if written:
        description, new = html.unescape(written.group(1) or written.group(2)), ""
    else:
        description = context.get("description") or (first_sentences(doctree) if doctree else "")
        description = (
            description or f"Search the pages of “{config.html_title}”, without a service."
        )
        new = tag("name", "description", description)
    lines = [new]
    if doctree is not None:
        lines += cite(app, pagename, title, context)
    address = address_of(app, pagename) if pagename != NOT_FOUND else ""
    if address:
        context["pageurl"] = address
        lines += card(app, pagename, title, description, address)
    if doctree is None:
        lines.append(tag("name", "robots", "noindex"))
    context["metatags"] = metatags + "".join(f"\n{line}" for line in lines if line)


def cite(app, pagename, title, context):
    """The tags that reference managers read; adds the same for people to the page's text."""
    config = app.config
    cited = citation_file(Path(app.srcdir) / "CITATION.cff")
    authors, date = authors_of(cited, config), str(cited.get("date-released", ""))
    year, version = date[:4] or "n.d.", cited.get("version", "")
    address = address_of(app, pagename)
    book = cited.get("title", config.html_title)
    root = pagename == config.root_doc
    named = f"<cite>{html.escape(book)}</cite>{f', version {version}' if version else ''}"
    part = "" if root else f"“{html.escape(title)}”, in "
    link = f' <a href="{address}">{address}</a>' if address else ""
    who = html.escape(", ".join(authors))
    context["body"] = context.get("body", "") + (
        f'<p class="cite-page">Cite {"the book" if root else "this page"}: {who} ({year}). {part}{named}.{link}</p>'
    )
    return [
        tag("name", "citation_title", book if root else title),
        "" if root else tag("name", "citation_inbook_title", book),
        *(tag("name", "citation_author", author) for author in authors),
        tag("name", "citation_publication_date", date.replace("-", "/")),
        tag("name", "citation_language", config.language or "en"),
        tag("name", "citation_fulltext_html_url", address),
    ]


def card(app, pagename, title, description, address):
    """What a social network shows of a link to the page."""
    image = urljoin(address_of(app, app.config.root_doc), f"_static/cards/{card_name(pagename)}")
    root = pagename == app.config.root_doc
    return [
        tag("property", "og:type", "website" if root else "article"),
        tag("property", "og:site_name", app.config.html_title),
        tag("property", "og:title", app.config.html_title if root else title),
        tag("property", "og:description", description),
        tag("property", "og:url", address),
        tag("property", "og:image", image),
        tag("property", "og:image:width", CARD[0]),
        tag("property", "og:image:height", CARD[1]),
        tag("property", "og:image:alt", f"{title}. {app.config.html_title}."),
        tag("name", "twitter:card", "summary_large_image"),
    ]


def card_name(pagename):
    return pagename.replace("/", "-") + ".png"


def draw_card(path, title, book):
    """The picture of a card: the page's title, the book's, a band in the colours of the figures."""
    figure = Figure(figsize=(CARD[0] / 100, CARD[1] / 100), dpi=100, facecolor="#fbfbf9")
    for number, colour in enumerate(("#2f66a8", "#ba4800", "#00a669", "#d6699f")):
        figure.add_artist(Rectangle((number / 4, 0), 0.25, 0.04, color=colour, linewidth=0))
    long = len(title) > 60
    lines = "\n".join(textwrap.wrap(title, 36 if long else 26))
    size = 36 if long else 48
    place = {"va": "top", "weight": "bold", "linespacing": 1.25, "parse_math": False}
    figure.text(0.06, 0.88, lines, fontsize=size, color="#1c1c1c", **place)
    figure.text(0.06, 0.12, book, fontsize=26, color="#444444", parse_math=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def not_found_page(app):
    """404.html: what happened, a search, the way on."""
    uri = {name: relative_uri(f"{NOT_FOUND}.html", f"{name}.html") for name in ("search", *PLACES)}
    places = "".join(
        f'<li><a href="{uri[name]}">{app.env.titles[name].astext()}</a>: {what}</li>'
        for name, what in PLACES.items()
        if name in app.env.titles
    )
    body = f"""<section><h1>This page does not exist</h1>
<p>The address may have a slip in it, or the page may have moved. Everything that the book has is in the list of
its chapters, on the <a href="index.html">front page</a>, or found by a search:</p>
<form class="not-found-search" role="search" aria-label="Search the book" action="{uri["search"]}" method="get">
<input type="search" name="q" aria-label="Search the book" autocomplete="off"> <button type="submit">Search</button>
</form>
<ul>{places}</ul></section>"""
    description = "This page does not exist; the book's search and its list of chapters lead on."
    yield (
        NOT_FOUND,
        {"title": "Page not found", "body": body, "description": description},
        "page.html",
    )


ADDRESS = re.compile(r'\b(href|src|action|data-content_root)="(?![a-z][\w+.-]*:|/|#)([^"]*)"')


def root_addresses(page, base):
    """The 404 page, which may be shown at any depth, with addresses that count from the root of the site."""
    path = urlsplit(base).path.rstrip("/") + "/"
    return ADDRESS.sub(
        lambda match: f'{match.group(1)}="{urljoin(path, html.unescape(match.group(2)) or "./")}"',
        page,
    )


def write_files(app, exception):
    """With an address: the 404 page's absolute addresses, the sitemap and the pictures of the cards."""
    base = app.config.html_baseurl
    if exception or app.builder.format != "html" or not base:
        return
    out = Path(app.outdir)
    path = out / f"{NOT_FOUND}.html"
    path.write_text(root_addresses(path.read_text(encoding="utf-8"), base), encoding="utf-8")
    documents = sorted(app.env.found_docs & set(app.env.titles))
    entries = "".join(
        f"<url><loc>{html.escape(address_of(app, name))}</loc></url>\n" for name in documents
    )
    (out / "sitemap.xml").write_text(
        '<?xml version="1.0" encoding="utf-8"?>\n'
        f'<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n{entries}</urlset>\n',
        encoding="utf-8",
    )
    for name in documents:
        draw_card(
            out / "_static" / "cards" / card_name(name),
            app.env.titles[name].astext(),
            app.config.html_title,
        )


def setup(app):
    app.connect("html-page-context", add_head)
    app.connect("html-collect-pages", not_found_page)
    app.connect("build-finished", write_files, priority=800)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
