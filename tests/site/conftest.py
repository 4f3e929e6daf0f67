"""The built site in a real browser: one browser, one server, every page once on a desktop and once on a phone."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from axe_playwright_python import sync_playwright as axe_package

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import browser as browsers  # noqa: E402
import contents  # noqa: E402

SITE = browsers.SITE
TOC = [f"{name}.html" for name in contents.pages(ROOT / "_toc.yml")]
BUILT = [path for path in sorted(SITE.rglob("*.html")) if "_static" not in path.parts]
PAGES = TOC + sorted({path.relative_to(SITE).as_posix() for path in BUILT} - set(TOC))

DESKTOP = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"}
PHONE = {"viewport": {"width": 360, "height": 740}, "color_scheme": "dark", "has_touch": True}


@pytest.fixture(scope="session")
def site():
    """The address of the site, with no slash at its end."""
    with browsers.serve() as address:
        yield address


@pytest.fixture(scope="session")
def browser():
    with browsers.browser() as running:
        yield running


@pytest.fixture(scope="session")
def axe_source():
    return (Path(axe_package.__file__).parent / "axe.min.js").read_text(encoding="utf-8")


def visit(browser, site, name, **settings):
    """A page with what it asked for and what it complained about."""
    context = browser.new_context(**settings)
    requests, messages = [], []
    context.on("request", lambda request: requests.append(request.url))
    context.on(
        "console",
        lambda message: (
            messages.append(f"{message.type}: {message.text}")
            if message.type in ("error", "warning")
            else None
        ),
    )
    context.on("weberror", lambda error: messages.append(f"exception: {error.error}"))
    page = browsers.open_page(context, f"{site}/{name}")
    return SimpleNamespace(name=name, page=page, requests=requests, messages=messages)


@pytest.fixture(scope="module", params=PAGES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def desktop(browser, site, name):
    """The page on a desktop, in the light, with nothing folded."""
    visited = visit(browser, site, name, **DESKTOP)
    browsers.unfold(visited.page)
    yield visited
    visited.page.context.close()


@pytest.fixture(scope="module")
def phone(browser, site, name):
    """The page on a phone, in the dark, by a reader who wants no motion, with nothing folded."""
    visited = visit(browser, site, name, reduced_motion="reduce", **PHONE)
    browsers.unfold(visited.page)
    yield visited
    visited.page.context.close()


@pytest.fixture
def home(browser, site):
    """The front page on a desktop, for tests that change things."""
    visited = visit(browser, site, "index.html", **DESKTOP)
    yield visited
    visited.page.context.close()
