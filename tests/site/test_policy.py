"""Under its content security policy every page's own scripts run, and nothing else does: in a real browser."""

import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
sys.path.insert(0, str(ROOT / "tools"))

import serve  # noqa: E402

PAGES = sorted(path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html"))
TYPESET = """async () => {
  if (!window.typesetAll) return 0;
  await typesetAll();
  return document.querySelectorAll("mjx-container").length || -1;
}"""


@pytest.fixture(scope="module")
def address():
    """The site, served below a path of its own."""
    with serve.server(SITE, under="/some/book/") as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/some/book"
        server.shutdown()


@pytest.fixture
def page(browser):
    """A fresh page; `page.faults` collects what it complains of and what it asks of others."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    page = context.new_page()
    page.faults = []
    page.on(
        "console",
        lambda message: message.type in ("error", "warning") and page.faults.append(message.text),
    )
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("requestfailed", lambda request: page.faults.append(f"failed: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and page.faults.append(answer.url))
    yield page
    context.close()


def visit(page, base, name):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"{base}/{name}", wait_until="load")
    formulas = page.evaluate(TYPESET)
    assert formulas >= 0, "formulas are not typeset"
    assert page.locator("mjx-merror, [data-mjx-error]").count() == 0
    elsewhere = [url for url in asked if not url.startswith((base, "data:"))]
    assert elsewhere == [] and page.faults == []
    assert page.evaluate("document.documentElement.dataset.theme") in ("light", "dark")


@pytest.mark.parametrize("name", PAGES)
def test_scripts_run_below_a_path(page, address, name):
    visit(page, address, name)


@pytest.mark.parametrize("name", PAGES)
def test_scripts_run_from_a_local_file(page, name):
    visit(page, SITE.as_uri(), name)


def test_a_script_that_is_not_the_page_s_own_is_blocked(page, address):
    visit(page, address, "index.html")
    page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "window.intruder = true";
      document.body.append(script);
      document.body.insertAdjacentHTML("beforeend", '<img src="https://example.org/x.png" alt="">');
    }""")
    page.wait_for_function("true")
    assert page.evaluate("window.intruder") is None
    page.wait_for_timeout(200)
    assert len(page.faults) >= 2 and all(
        "Content Security Policy" in fault or "example.org" in fault for fault in page.faults
    )


def test_controls_work(page, address):
    visit(page, address, "notebooks/budget.html")
    page.locator(".theme-switch-button").first.click()
    assert page.evaluate("document.documentElement.dataset.mode") in ("light", "dark")
    page.evaluate("window.print = () => { window.printed = true }")
    page.locator("[data-print]").first.evaluate("button => button.click()")
    assert page.evaluate("window.printed") is True
    page.locator("button.copybtn").first.evaluate("button => button.click()")
    page.locator(".search-button__button").first.click()
    assert page.locator("#pst-search-dialog").evaluate("dialog => dialog.open") is True
    page.locator("#pst-search-dialog input").fill("experts")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
    assert page.faults == []


def test_the_page_that_is_not_there(page, address):
    page.goto(f"{address}/nowhere.html")
    assert "does not exist" in page.locator(".bd-article h1").inner_text()
    page.locator(".not-found-search input").fill("experts")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
