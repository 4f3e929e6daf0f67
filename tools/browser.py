"""A browser for the checks of the built site, for the PDF and for the screenshots: found, not downloaded.

Taken is what the variable CHROMIUM names, else a Chromium, Chrome or Edge of the system. `python tools/browser.py`
prints which, or says in a sentence that there is none.
"""

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from serve import server

SITE = Path(__file__).resolve().parents[1] / "_build" / "html"
COMMANDS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
PLACES = (
    "/usr/bin/chromium",
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
    "/Applications/Chromium.app/Contents/MacOS/Chromium",
    "/Applications/Microsoft Edge.app/Contents/MacOS/Microsoft Edge",
    r"C:\Program Files\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Google\Chrome\Application\chrome.exe",
    r"C:\Program Files (x86)\Microsoft\Edge\Application\msedge.exe",
)
# Without a sandbox, which containers forbid (the pages are our own), and without what would call home.
FLAGS = """--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking
    --disable-component-update --disable-sync""".split()
MISSING = (
    "no browser found: install Chromium (on Debian: apt install chromium) or Chrome, "
    "or set CHROMIUM to the path of one"
)


def find_browser():
    """The path of a browser. Raises FileNotFoundError with a sentence that says what to do."""
    named = os.environ.get("CHROMIUM")
    if named:
        if shutil.which(named):
            return shutil.which(named)
        raise FileNotFoundError(f"CHROMIUM: expected the path of a browser, got {named!r}")
    found = [path for path in map(shutil.which, (*COMMANDS, *PLACES)) if path]
    if not found:
        raise FileNotFoundError(MISSING)
    return found[0]


@contextmanager
def browser():
    """One running browser; Playwright only drives it."""
    from playwright.sync_api import sync_playwright

    path = find_browser()
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=FLAGS)
        try:
            yield running
        finally:
            running.close()


@contextmanager
def serve(folder=SITE):
    """The address under which `folder` is served, on a free port, with no slash at its end."""
    if not (folder / "index.html").is_file():
        raise FileNotFoundError(f"{folder}: no built site; `make book` builds it")
    with server(folder) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()


def open_page(context, address):
    """A page of the book in its final state: loaded, formulas set."""
    page = context.new_page()
    page.goto(address)
    page.evaluate("window.typesetAll?.()")
    return page


def lay_out(page):
    """Lay out what waits until it comes into view."""
    page.evaluate("""() => {
      for (const cell of document.querySelectorAll("div.cell")) cell.style.contentVisibility = "visible";
    }""")


def unfold(page):
    """Open everything that is folded, and lay out all of it."""
    page.evaluate("document.querySelectorAll('details').forEach((part) => { part.open = true; })")
    lay_out(page)


if __name__ == "__main__":
    try:
        print(f"The browser: {find_browser()}")
    except FileNotFoundError as error:
        sys.exit(str(error))
