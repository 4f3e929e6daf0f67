"""The whole book as one PDF: `python tools/pdf.py` prints the built site to _build/book.pdf through a browser.

The pages of the table of contents are put one behind the other into one document, so that a link from page to page
becomes a link inside the PDF. It is printed twice: the first time says on which page everything lands, the second
prints the table of contents with those numbers. Fails if a link of the PDF leads nowhere.
"""

import sys
from datetime import date
from pathlib import Path

import yaml
from browser import SITE, browser, open_page, serve
from pypdf import PdfReader

ROOT = Path(__file__).resolve().parents[1]
TARGET = SITE.parent / "book.pdf"
FOOTER = """<div style="width: 100%; text-align: center; font: 9px sans-serif; color: #555">
<span class="pageNumber"></span></div>"""
PRINT = {
    "format": "A4",
    "print_background": True,
    "display_header_footer": True,
    "header_template": "<span></span>",
    "footer_template": FOOTER,
    "outline": True,
    "tagged": True,
    "prefer_css_page_size": True,
}
STYLE = """
.book-front .book-title { margin: 6rem 0 1rem; font-size: 2.4rem; font-weight: 700; }
.book-front nav { margin-top: 4rem; columns: 1; }
.book-front nav p { margin: 1rem 0 .2rem; font-weight: 700; }
.book-front nav a { display: flex; justify-content: space-between; gap: 1rem; color: inherit; text-decoration: none; }
.book-front nav a.level-2 { padding-left: 1.5rem; font-size: .9em; }
.book-front .page-number { min-width: 3em; text-align: end; font-variant-numeric: tabular-nums; }
.book-front ~ article { break-before: page; }
"""
# Parameters: the root of the site; the parts, each with a caption and its pages; the title; the line under it.
ASSEMBLE = """async ({ root, parts, title, line }) => {
  const names = new Set(parts.flatMap((part) => part.pages));
  const marked = (page, id) => `${page}--${id}`;
  const book = document.createElement("main");
  const front = book.appendChild(document.createElement("section"));
  front.className = "book-front";
  front.append(Object.assign(document.createElement("p"), { className: "book-title", textContent: title }));
  front.append(Object.assign(document.createElement("p"), { textContent: line }));
  const contents = front.appendChild(document.createElement("nav"));
  const entry = (text, target, level) => {
    const link = contents.appendChild(document.createElement("a"));
    link.className = `level-${level}`;
    link.href = `#${target}`;
    link.append(Object.assign(document.createElement("span"), { textContent: text }));
    link.append(Object.assign(document.createElement("span"), { className: "page-number" }));
  };
  for (const { caption, pages } of parts) {
    if (caption) contents.append(Object.assign(document.createElement("p"), { textContent: caption }));
    for (const page of pages) {
      const source = new URL(`${root}/${page}.html`);
      const there = new DOMParser().parseFromString(await (await fetch(source)).text(), "text/html");
      const article = there.querySelector("article.bd-article");
      article.querySelectorAll("script, a.headerlink").forEach((node) => node.remove());
      article.id = marked(page, "");
      for (const node of article.querySelectorAll("[id]"))
        if (!node.closest("svg")) node.id = marked(page, node.id);
      for (const link of article.querySelectorAll("a[href]")) {
        const to = new URL(link.getAttribute("href"), source);
        if (to.origin !== source.origin) continue;
        const name = to.pathname.replace(/^\\//, "").replace(/\\.html$/, "").replace(/^(index)?$/, parts[0].pages[0]);
        if (names.has(name)) link.href = `#${marked(name, decodeURIComponent(to.hash.slice(1)))}`;
        else link.removeAttribute("href");  // a file beside the pages
      }
      for (const picture of article.querySelectorAll("img"))
        picture.src = new URL(picture.getAttribute("src"), source).href;
      book.append(document.adoptNode(article));
      entry(article.querySelector("h1").textContent, article.id, 1);
      for (const heading of article.querySelectorAll("section > section > h2"))
        if (caption === "Chapters") entry(heading.textContent, heading.parentElement.id, 2);
    }
  }
  await typesetAll();
  MathJax.typesetClear();
  document.body.replaceChildren(book);
  document.documentElement.dataset.theme = "light";
  document.querySelectorAll("details").forEach((part) => { part.open = true });
  await MathJax.typesetPromise();
}"""
NUMBER = """(pages) => document.querySelectorAll(".book-front nav a").forEach((link) => {
  link.querySelector(".page-number").textContent = pages[decodeURIComponent(link.hash.slice(1))] ?? "";
})"""


def contents():
    """The parts of the book: captions and the pages below them, the front page in a part of its own."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    parts = [{"caption": "", "pages": [toc["root"]]}]
    for part in toc["parts"]:
        pages = [chapter["file"].removesuffix(".ipynb") for chapter in part["chapters"]]
        parts.append({"caption": part["caption"], "pages": pages})
    return parts


def landings(pdf):
    """Name of a destination -> number of its page."""
    places = pdf.named_destinations.items()
    return {name.lstrip("/"): pdf.get_destination_page_number(place) + 1 for name, place in places}


def faults(pdf):
    """Links that lead nowhere: to the machine that printed, or to a name that is not there."""
    names = landings(pdf)
    for number, page in enumerate(pdf.pages, start=1):
        for annotation in page.annotations or ():
            link = annotation.get_object()
            action = link["/A"] if "/A" in link else {}
            address, name = str(action.get("/URI", "")), link.get("/Dest") or action.get("/D")
            if "127.0.0.1" in address or address.startswith("file:"):
                yield f"page {number}: {address}"
            if isinstance(name, str) and name.lstrip("/") not in names:
                yield f"page {number}: {name}: no such place"


def main():
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    front = {"title": config["title"], "line": f"{config['author']}. {date.today():%d %B %Y}."}
    parts = contents()
    with serve() as site, browser() as running:
        context = running.new_context(bypass_csp=True, reduced_motion="reduce")
        page = open_page(context, f"{site}/{parts[2]['pages'][0]}.html")  # which has MathJax
        page.add_style_tag(content=STYLE)
        page.set_default_timeout(300_000)
        page.emulate_media(media="print", color_scheme="light")
        page.evaluate(ASSEMBLE, {"root": site, "parts": parts, **front})
        page.pdf(path=TARGET, **PRINT)
        numbers = landings(PdfReader(TARGET))
        page.evaluate(NUMBER, numbers)
        unnumbered = page.locator(".book-front nav .page-number:empty").count()
        page.pdf(path=TARGET, **PRINT)
    pdf = PdfReader(TARGET)
    wrong = [*faults(pdf), *(["contents: entries without a page"] if unnumbered else [])]
    wrong += [] if landings(pdf) == numbers else ["the second printing moved places"]
    for fault in wrong:
        print(fault)
    megabytes = TARGET.stat().st_size / 1e6
    print(f"{len(pdf.pages)} pages, {len(numbers)} places, {megabytes:.1f} MB: {TARGET}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
