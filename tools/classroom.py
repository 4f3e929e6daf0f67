"""What a teacher takes along, made from the built site: slides of each chapter, and the answers to everything it asks.

`python tools/classroom.py slides` writes `_build/classroom/slides/NAME.html`, and a PDF of each if Chromium is found:
a chapter's claim, its goals, its figures with their captions, its verdict, its exercises.
`python tools/classroom.py answers` writes `_build/classroom/answers.html`: every exercise with hint, solution and what
the solution printed when the book was built, every question of the self-tests, every prompt, nothing folded away.
"""

import argparse
import html
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bs4 import BeautifulSoup, Tag

sys.path.insert(0, str(Path(__file__).resolve().parent))
from browser import FLAGS, SITE, find_browser

from notebooks import ROOT, chapters

TARGET = ROOT / "_build" / "classroom"
GOALS = "At the end you can"
TO_ANSWER = ("exercises", "test-yourself", "explain-it-back")

STYLE = """
html { font: 20px/1.45 system-ui, "DejaVu Sans", sans-serif; color: #16181d; background: #fff; }
body { margin: 0; } h1, h2 { line-height: 1.2; margin: 0 0 .6em; } a { color: inherit; }
"""
SLIDES = """
html { scroll-snap-type: y mandatory; }
section { box-sizing: border-box; height: 100vh; padding: 4vh 6vw; scroll-snap-align: start; display: flex;
  flex-direction: column; justify-content: center; overflow: hidden; }
section > .small { font-size: .62em; color: #50565f; margin: .4em 0 0; }
figure { display: contents; } figure svg { flex: 1; min-height: 0; max-width: 100%; }
section.text { font-size: 1.5em; } section.long { font-size: 1.15em; } section p { margin: 0 0 .7em; }
table { border-collapse: collapse; font-size: 1.05em; } th, td { padding: .35em .8em; text-align: start; }
th, td { border-bottom: 1px solid #c6cad1; font-variant-numeric: tabular-nums; }
@page { size: 26.67cm 15cm; margin: 0; }
@media print { html { font-size: 17px; } section { height: 15cm; padding: .8cm 1.5cm; break-after: page; } }
"""
KEYS = """
const slides = [...document.querySelectorAll("section")];
document.addEventListener("keydown", (event) => {
  const step = {ArrowRight: 1, ArrowLeft: -1}[event.key];
  if (!step) return;
  const here = Math.round(scrollY / innerHeight);
  slides[Math.min(Math.max(here + step, 0), slides.length - 1)].scrollIntoView();
});
"""
ANSWERS = """
body { max-width: 46rem; margin: 0 auto; padding: 1rem; } html { font-size: 16px; }
pre { white-space: pre-wrap; background: #f3f4f6; padding: .6rem; font-size: .85em; } h1 { margin-top: 2em; }
.tag_exercise, .admonition-title { display: none; }
"""


def article(name: str) -> Tag:
    """A chapter of the built site, its links without a target: the classroom has no site around it."""
    path = SITE / "notebooks" / f"{name}.html"
    if not path.exists():
        sys.exit(f"{path}: not there; run `make book` first")
    found = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")
    for link in found.select("a.headerlink"):
        link.decompose()
    for link in found.select("a"):
        link.unwrap()
    return found


def section(chapter: Tag, identifier: str) -> Tag:
    found = chapter.select_one(f"section#{identifier}")
    if found is None:
        sys.exit(f"{chapter.h1.get_text()}: expected a section {identifier!r}, found none")
    return found


def slide(body: str, kind: str = "") -> str:
    return f'<section class="{kind}">{body}</section>'


def text_slide(title: str, paragraph: Tag) -> str:
    long = " long" if len(paragraph.get_text()) > 500 else ""
    return slide(f"<h2>{title}</h2>{paragraph}", f"text{long}")


def slides_of(name: str) -> str:
    """The slides of a chapter as one HTML document that needs nothing else."""
    chapter = article(name)
    title = chapter.h1.get_text(strip=True)
    claim = section(chapter, "the-claim").find_all("p", recursive=False)
    first = slide(f"<h1>{html.escape(title)}</h1>{claim[0]}", "text")
    pages = [first]
    for paragraph in claim:
        opening = paragraph.strong
        if opening and opening.get_text(strip=True) == GOALS:
            opening.decompose()
            pages.append(text_slide(f"{GOALS} ...", paragraph))
    for figure in chapter.select("figure.book-figure"):
        heading = figure.find_previous(["h2", "h3"]).get_text(strip=True)
        caption = figure.figcaption.get_text(strip=True) if figure.figcaption else ""
        small = f'<p class="small">{html.escape(caption)}</p>' if caption else ""
        pages.append(slide(f"<h2>{html.escape(heading)}</h2><figure>{figure.svg}</figure>{small}"))
    for table in section(chapter, "what-it-costs").select('[id^="derived-"] table'):
        heading = table.find_previous(["h2", "h3"]).get_text(strip=True)
        pages.append(slide(f"<h2>{html.escape(heading)}</h2>{table}", "table"))
    verdict = section(chapter, "the-verdict").find_all("p", recursive=False)
    pages += [text_slide("The verdict", paragraph) for paragraph in verdict]
    exercises = [h3.get_text(strip=True) for h3 in section(chapter, "exercises").select("h3")]
    items = "".join(f"<li>{html.escape(re.sub(r'^[0-9]+[.] ', '', it))}</li>" for it in exercises)
    pages.append(slide(f"<h2>To do at home</h2><ol>{items}</ol>", "text"))
    colours = re.search(
        r"^html \{(.*?)\}", (ROOT / "book/_static/book.css").read_text("utf-8"), re.M | re.S
    )
    style = f"html {{{colours.group(1)}}}{STYLE}{SLIDES}"
    return document(title, style, "".join(pages), KEYS)


def answers() -> str:
    """The answers of all chapters as one HTML document."""
    parts = []
    for name in chapters():
        chapter = article(name)
        parts.append(f"<h1>{html.escape(chapter.h1.get_text(strip=True))}</h1>")
        for identifier in TO_ANSWER:
            part = chapter.select_one(f"section#{identifier}")
            if part is None:
                continue
            for details in part.select("details"):
                details["open"] = ""
            parts.append(str(part))
    return document("Answers", STYLE + ANSWERS, "".join(parts))


def document(title: str, style: str, body: str, script: str = "") -> str:
    running = f"<script>{script}</script>" if script else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{style}</style></head>'
        f"<body>{body}{running}</body></html>\n"
    )


def print_pdf(program: str, page: Path) -> Path:
    """Print a page to a PDF beside it."""
    target = page.with_suffix(".pdf")
    with tempfile.TemporaryDirectory() as profile:
        command = [program, "--headless", *FLAGS, f"--user-data-dir={profile}"]
        command += ["--no-pdf-header-footer", f"--print-to-pdf={target}", page.as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
    return target


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("slides", "answers"))
    if parser.parse_args().what == "answers":
        TARGET.mkdir(parents=True, exist_ok=True)
        page = TARGET / "answers.html"
        page.write_text(answers(), encoding="utf-8")
        print(f"Answers: {page.as_uri()}")
        return 0
    folder = TARGET / "slides"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        program, kinds = find_browser(), "HTML and PDF"
    except FileNotFoundError as error:
        program, kinds = None, f"HTML only: {error}"
    for name in chapters():
        page = folder / f"{name}.html"
        page.write_text(slides_of(name), encoding="utf-8")
        if program:
            print_pdf(program, page)
    print(f"Slides ({kinds}): {folder.as_uri()}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
