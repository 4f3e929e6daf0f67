"""Check the built site: `python tools/check_site.py _build/html`. One line per fault, status 1 on any.

Checked: every page of _toc.yml is there and not nearly empty; internal links, anchors and files
resolve; pictures have a real description; nothing is loaded from elsewhere; no raw markup shows;
no id stands twice on a page.
"""

import argparse
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml

SHORTEST_PAGE = 200
SHORTEST_ALT = 40
VOID = set("area base br col embed hr img input link meta source track wbr".split())
# What a browser loads by itself: the attributes that hold addresses, and the kinds of <link>.
LOADED = dict.fromkeys(("script", "iframe", "audio", "embed"), ("src",))
LOADED |= dict.fromkeys(("img", "source"), ("src", "srcset"))
LOADED |= {"video": ("src", "poster"), "object": ("data",), "image": ("href",), "use": ("href",)}
LINK_RELS = set("stylesheet icon preload modulepreload preconnect dns-prefetch manifest".split())
FILE_NAME = re.compile(r"\S+\.(png|svg|jpe?g|gif|webp)", re.IGNORECASE)
ELSEWHERE = re.compile(r"(?:https?:)?//", re.IGNORECASE)
CSS_ELSEWHERE = re.compile(
    r"""(?:url\(\s*["']?|@import\s+["'])((?:https?:)?//[^"')\s]+)""", re.IGNORECASE
)
# Markup that should have been rendered: looked for in the prose, where code samples may show it.
RAW = re.compile(
    r"```|\$\$|:::\s*\{|\{[a-z][\w:-]*\}`"
    r"|(?<![A-Za-z])\{(?:cite|fact|quote|derived|term|ref|doc|eq|numref|glue|run-cost)[\w:-]*\}"
)
# Lines that nbdev reads: looked for everywhere.
DIRECTIVE = re.compile(
    r"^[ \t]*#[ \t]*\|[ \t]*(?:default_exp|export|hide|eval|echo|output|code-fold)\w*", re.MULTILINE
)


class Page(HTMLParser):
    """One page: its ids, its links, what it loads, its pictures, its text and the part of it that is not code."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.loaded, self.pictures = [], [], [], []
        self.text, self.prose = [], []
        self.stack = []
        self.feed(text)
        self.close()

    def inside(self, tag):
        return tag in self.stack

    def handle_starttag(self, tag, attributes):
        values = {name: value or "" for name, value in attributes}
        if values.get("id"):
            self.ids.append(values["id"])
        if tag == "a" and "name" in values:
            self.ids.append(values["name"])
        if tag in ("a", "area") and "href" in values:
            self.links.append(values["href"])
        if tag == "form" and values.get("action"):
            self.links.append(values["action"])
        if tag == "link" and LINK_RELS & set(values.get("rel", "").lower().split()):
            self.loaded.append(values.get("href", ""))
        for attribute in LOADED.get(tag, ()):
            address = values.get(attribute) or values.get(f"xlink:{attribute}", "")
            parts = address.split(",") if attribute == "srcset" else [address]
            self.loaded += [part.split()[0] for part in parts if part.strip()]
        self.loaded += CSS_ELSEWHERE.findall(values.get("style", ""))
        if self.inside("article"):
            if tag == "img":
                self.pictures.append((values.get("src", "img"), values.get("alt", "")))
            if tag == "svg" and values.get("role") == "img":
                self.pictures.append(("svg", values.get("aria-label", "")))
        if tag == "pre":
            self.text.append("\n")
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        while tag in self.stack and self.stack.pop() != tag:
            pass

    def handle_data(self, text):
        if self.inside("style"):
            self.loaded += CSS_ELSEWHERE.findall(text)
        if self.inside("article") and not ({"script", "style"} & set(self.stack)):
            self.text.append(text)
            if not ({"pre", "code"} & set(self.stack)):
                self.prose.append(text)

    @property
    def article(self):
        return "".join(self.text)


def toc_pages(path):
    """The documents that _toc.yml names, in its order."""

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key in ("root", "file"):
                    yield re.sub(r"\.(md|ipynb)$", "", value)
                else:
                    yield from walk(value)
        elif isinstance(node, list):
            for item in node:
                yield from walk(item)

    return list(walk(yaml.safe_load(Path(path).read_text(encoding="utf-8"))))


def check_pages(site, pages, toc):
    """Every page of the table of contents is there and says something."""
    for name in toc:
        page = pages.get(site / f"{name}.html")
        if page is None:
            yield f"{name}.html: missing; _toc.yml names it"
        elif len("".join(page.article.split())) < SHORTEST_PAGE:
            yield f"{name}.html: nearly empty"
    if site / "index.html" not in pages:
        yield "index.html: missing"


def check_addresses(site, pages):
    """Links, anchors and files inside the site resolve; nothing is loaded from elsewhere."""
    for path, page in pages.items():
        where = path.relative_to(site)
        for address in page.loaded:
            if ELSEWHERE.match(address):
                yield f"{where}: loads {address} from elsewhere"
        for address in sorted({*page.links, *page.loaded}):
            parts = urlsplit(address)
            if parts.scheme or parts.netloc or address in ("", "#", "#top"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            outside = parts.path.startswith("/") or not target.is_relative_to(site)
            if outside or not target.is_file():
                yield f"{where}: {address} leads nowhere"
            elif parts.fragment and target in pages:
                # A calculator's address holds its inputs after the id: #training-run&n_gpus=1024.
                if unquote(parts.fragment).partition("&")[0] not in pages[target].ids:
                    yield f"{where}: {address}: no such anchor"


def check_styles(site):
    """Style sheets load nothing from elsewhere."""
    for path in sorted(site.rglob("*.css")):
        for address in CSS_ELSEWHERE.findall(path.read_text(encoding="utf-8", errors="replace")):
            yield f"{path.relative_to(site)}: loads {address} from elsewhere"


def check_content(site, pages):
    """Descriptions of pictures, leftover markup, ids that stand twice."""
    for path, page in pages.items():
        where = path.relative_to(site)
        for picture, alt in page.pictures:
            alt = " ".join(alt.split())
            if len(alt) < SHORTEST_ALT or FILE_NAME.fullmatch(alt):
                yield f"{where}: {picture}: no real description, got {alt!r}"
        leftover = [*RAW.finditer("".join(page.prose)), *DIRECTIVE.finditer(page.article)]
        for found in sorted({match.group().strip() for match in leftover}):
            yield f"{where}: raw markup in the text: {found}"
        for identifier in sorted({name for name in page.ids if page.ids.count(name) > 1}):
            yield f"{where}: id {identifier} stands twice"


def check(site, toc):
    """All faults of the built site, as lines."""
    site = Path(site).resolve()
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    faults = [*check_pages(site, pages, toc_pages(toc)), *check_addresses(site, pages)]
    return [*faults, *check_styles(site), *check_content(site, pages)], len(pages)


def main(arguments=None):
    parser = argparse.ArgumentParser(description="Check the built site.")
    parser.add_argument(
        "site", type=Path, help="the folder of the built pages, such as _build/html"
    )
    parser.add_argument(
        "--toc", type=Path, default=Path(__file__).resolve().parents[1] / "_toc.yml"
    )
    options = parser.parse_args(arguments)
    if not options.site.is_dir():
        print(f"{options.site}: no such folder; `make book` builds the site")
        return 1
    faults, count = check(options.site, options.toc)
    for fault in faults:
        print(fault)
    size = sum(path.stat().st_size for path in options.site.rglob("*") if path.is_file())
    print(
        f"{len(faults)} faults"
        if faults
        else f"site: {count} pages, {size / 1e6:.1f} MB, no faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
