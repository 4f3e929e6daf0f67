"""Check the built site: `python tools/check_site.py _build/html`. One line per fault, status 1 on any.

Checked: every page of _toc.yml is there and not nearly empty; internal links, anchors and files
resolve; pictures have a real description; nothing is loaded from elsewhere; no raw markup shows;
no id stands twice on a page; each page has a title, a description and a policy that lets its own scripts run.
The site is neither smaller nor larger than tools/site_expectation.toml says. What was found, page by page and file
by file, is written beside the site: `_build/site_manifest.json`.
"""

import argparse
import base64
import gzip
import hashlib
import json
import re
import sys
import tomllib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parent))
import contents

SHORTEST_PAGE = 200
SHORTEST_ALT = 40
SHORTEST_DESCRIPTION, LONGEST_DESCRIPTION = 40, 200
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
        self.handlers, self.inline, self.meta, self.title = [], [], {}, ""
        self.root = ""
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
        if tag == "meta":
            self.meta[values.get("http-equiv") or values.get("name")] = values.get("content", "")
        self.root = values.get("data-content_root", self.root)
        self.handlers += [name for name in values if name.startswith("on")]
        if tag == "script" and "src" not in values:
            kind = values.get("type", "")
            self.inline.append([] if kind in ("", "module", "text/javascript") else None)
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
        if self.stack[-1:] == ["script"] and self.inline and self.inline[-1] is not None:
            self.inline[-1].append(text)
        if self.inside("title") and not self.inside("svg"):
            self.title += text
        if self.inside("style"):
            self.loaded += CSS_ELSEWHERE.findall(text)
        if self.inside("article") and not ({"script", "style"} & set(self.stack)):
            self.text.append(text)
            if not ({"pre", "code"} & set(self.stack)):
                self.prose.append(text)

    @property
    def article(self):
        return "".join(self.text)

    @property
    def words(self):
        return len(self.article.split())


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
            # A page that is shown at any depth counts its addresses from the site's root.
            relative = parts.path.removeprefix(page.root) if page.root[:1] == "/" else parts.path
            target = (path.parent / unquote(relative)).resolve() if parts.path else path
            if target.is_dir():
                target /= "index.html"
            outside = relative.startswith("/") or not target.is_relative_to(site)
            if outside or not target.is_file():
                yield f"{where}: {address} leads nowhere"
            elif parts.fragment and target in pages:
                # A calculator's address holds its inputs after the id: #training-run&n_gpus=1024.
                if unquote(parts.fragment).partition("&")[0] not in pages[target].ids:
                    yield f"{where}: {address}: no such anchor"


def check_heads(site, pages):
    """Each page has a title, a description, and a policy under which its own scripts run."""
    for path, page in pages.items():
        where = path.relative_to(site)
        if not page.title.strip():
            yield f"{where}: no title"
        if not SHORTEST_DESCRIPTION <= len(page.meta.get("description", "")) <= LONGEST_DESCRIPTION:
            yield f"{where}: no description of {SHORTEST_DESCRIPTION} to {LONGEST_DESCRIPTION} letters"
        policy = page.meta.get("Content-Security-Policy", "")
        if "default-src 'none'" not in policy:
            yield f"{where}: no content security policy that begins with nothing"
        for name in page.handlers:
            yield f"{where}: {name}=…: the policy blocks handlers in the markup"
        for parts in filter(None, page.inline):
            digest = hashlib.sha256("".join(parts).encode()).digest()
            if f"'sha256-{base64.b64encode(digest).decode()}'" not in policy:
                yield f"{where}: the policy blocks the page's own script {''.join(parts).strip()[:40]!r}"


def without_figures(content):
    """A page without its figures, their drawings and their data."""
    return re.sub(rb"<figure\b.*?</figure>", b"", content, flags=re.DOTALL)


def first_view(site, path, page):
    """Bytes, compressed, of a page and what it loads, the most that MathJax takes among them."""
    files = {(path.parent / unquote(urlsplit(name).path)).resolve() for name in page.loaded}
    if any(file.name == "math.js" for file in files):
        files |= set((site / "_static" / "mathjax").rglob("*.js"))
        files |= set((site / "_static" / "mathjax").rglob("MathJax_M*.woff"))
    files = {file for file in files if file.is_file() and "extensions" not in file.parts}
    return sum(len(gzip.compress(file.read_bytes(), 6)) for file in {path, *files})


def describe(site, pages):
    """The manifest: every file with size and hash, every page with its words and the weight of its first view."""
    files, total, plain = {}, 0, 0
    for path in sorted(path for path in site.rglob("*") if path.is_file()):
        content = path.read_bytes()
        entry = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        if path in pages:
            entry["title"] = " ".join(pages[path].title.split())
            entry["words"] = pages[path].words
            entry["first_view_bytes"] = first_view(site, path, pages[path])
        files[path.relative_to(site).as_posix()] = entry
        total += len(content)
        if "cards" not in path.parts:  # pictures for social networks, which no reader loads
            plain += len(without_figures(content) if path in pages else content)
    return {"bytes": total, "bytes_without_figures": plain, "files": files}


def check_expectation(manifest, expected, toc):
    """The site is as large as expected, and each page of the table of contents has the words that it should."""
    for name in ("bytes", "bytes_without_figures"):
        low, high = expected[name]
        if not low <= manifest[name] <= high:
            yield f"the site has {manifest[name]:,} {name}; expected {low:,} to {high:,}"
    words = expected["words"]
    for name in sorted(set(words) - {*toc, "other"}):
        yield f"{name}: in the expectation, not in _toc.yml"
    for name in toc:
        entry = manifest["files"].get(f"{name}.html")
        least = words.get(name, words["other"])
        if entry and entry["words"] < least:
            yield f"{name}.html: {entry['words']} words; expected {least} or more"
    most = expected["first_view_bytes"]
    for name, entry in manifest["files"].items():
        if (size := entry.get("first_view_bytes", 0)) > most:
            yield f"{name}: first view of {size:,} bytes; expected {most:,} at most"


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
    """All faults of the built site's pages, as lines, and the pages."""
    site = Path(site).resolve()
    files = [path for path in sorted(site.rglob("*.html")) if "_static" not in path.parts]
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in files}
    faults = [*check_pages(site, pages, contents.pages(toc)), *check_addresses(site, pages)]
    faults += [*check_heads(site, pages), *check_styles(site), *check_content(site, pages)]
    return faults, pages


def main(arguments=None):
    root = Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description="Check the built site.")
    parser.add_argument(
        "site", type=Path, help="the folder of the built pages, such as _build/html"
    )
    parser.add_argument("--toc", type=Path, default=root / "_toc.yml")
    parser.add_argument("--expect", type=Path, default=root / "tools" / "site_expectation.toml")
    options = parser.parse_args(arguments)
    if not options.site.is_dir():
        print(f"{options.site}: no such folder; `make book` builds the site")
        return 1
    site = options.site.resolve()
    faults, pages = check(site, options.toc)
    manifest = describe(site, pages)
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (site.parent / "site_manifest.json").write_text(text, encoding="utf-8")
    expected = tomllib.loads(options.expect.read_text(encoding="utf-8"))
    faults += check_expectation(manifest, expected, contents.pages(options.toc))
    for fault in faults:
        print(fault)
    print(
        f"{len(faults)} faults"
        if faults
        else f"site: {len(pages)} pages, {manifest['bytes'] / 1e6:.1f} MB "
        f"({manifest['bytes_without_figures'] / 1e6:.1f} without figures), no faults"
    )
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
