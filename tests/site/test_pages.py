"""What holds on every page. A failure names its page."""

import itertools

import pytest

AXE_TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
COLOUR_RULES = [
    "color-contrast",
    "link-in-text-block",
    "scrollable-region-focusable",
    "target-size",
]
# Contrast is measured element by element, half a minute a chapter. Coloured code is the same few colours thousands
# of times, a ledger entry the same parts nine hundred times: some of each stand for all.
THIN = """() => {
  const seen = new Set();
  for (const token of document.querySelectorAll("pre span[class]")) {
    const kind = `${token.className} in ${token.closest("div[class*=highlight]")?.className}`;
    if (seen.has(kind)) token.remove(); else seen.add(kind);
  }
  for (const group of document.querySelectorAll(".ledger-group"))
    [...group.querySelectorAll(".ledger-entry")].slice(2).forEach((entry) => entry.remove());
}"""
AXE = """async (rules) => {
  const only = rules.colour ? { type: "rule", values: rules.colour } : { type: "tag", values: rules.tags };
  const result = await axe.run(document, { runOnly: only, resultTypes: ["violations"], preload: false });
  return result.violations.flatMap((rule) => rule.nodes.map((node) =>
    `${rule.id} (${rule.help}): ${node.target.join(" ")}: ${node.html.slice(0, 200)}`));
}"""
# Elements that stick out on the right, unless something around them scrolls.
STICKING_OUT = """() => {
  const scrolls = (node) => {
    for (let box = node.parentElement; box && box !== document.body; box = box.parentElement)
      if (getComputedStyle(box).overflowX !== "visible") return true;
    return false;
  };
  if (document.documentElement.scrollWidth <= innerWidth) return [];
  const wide = [...document.querySelectorAll("main *")].filter(
    (node) => node.getBoundingClientRect().right > innerWidth + 1 && !scrolls(node));
  const named = wide.slice(0, 5).map((node) => node.outerHTML.slice(0, 200));
  return [`${document.documentElement.scrollWidth} px wide`, ...named];
}"""
HEADINGS = """() => [...document.querySelectorAll("h1, h2, h3, h4, h5, h6")]
  .filter((node) => node.checkVisibility()).map((node) => [Number(node.tagName[1]), node.innerText.trim()])"""
FIGURES = """() => [...document.querySelectorAll("figure.book-figure, .bd-article img, .bd-article svg[role=img]")]
  .filter((node) => !node.parentElement.closest("figure.book-figure")).map((node) => {
    const picture = node.matches("figure") ? node.querySelector("svg[role=img], img, canvas") : node;
    const figure = node.closest("figure") ?? node;
    return {
      alt: picture?.getAttribute("aria-label") ?? picture?.getAttribute("alt") ?? "",
      rows: figure.querySelectorAll("details.figure-data tbody tr").length,
    };
  })"""
UNREACHABLE = """() => [...document.querySelectorAll("body *")].filter((node) => {
    const style = getComputedStyle(node);
    const scrolls = ["auto", "scroll"].includes(style.overflowX) && node.scrollWidth > node.clientWidth + 1;
    return scrolls && node.clientWidth && node.checkVisibility({ visibilityProperty: true })
      && node.tabIndex < 0 && ![...node.querySelectorAll("a[href], button, input, summary, [tabindex='0']")].length;
  }).map((node) => node.outerHTML.slice(0, 150))"""
MOVING = """() => [...document.querySelectorAll("*")].filter((node) => {
    const style = getComputedStyle(node);
    const seconds = (list) => Math.max(...list.split(",").map(parseFloat));
    return style.scrollBehavior === "smooth" || seconds(style.transitionDuration) > 0.01
      || (style.animationName !== "none" && seconds(style.animationDuration) > 0.01);
  }).map((node) => node.outerHTML.slice(0, 100))"""
# What the keyboard reaches, and whether the look changes when it does.
NO_FOCUS_SHOWN = """() => {
  const look = (node) => {
    const parts = [node, node.parentElement, ...node.querySelectorAll(":scope > *")];
    return parts.map((part) => {
      const style = getComputedStyle(part);
      return [style.outlineStyle, style.outlineWidth, style.outlineColor, style.boxShadow, style.backgroundColor,
        style.borderColor, style.textDecorationLine, style.textDecorationThickness, style.color].join();
    }).join("|");
  };
  const reached = [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
    .filter((node) => !node.disabled && node.tabIndex >= 0 && node.checkVisibility({ visibilityProperty: true }));
  const kinds = new Map();
  for (const node of reached) {
    const kind = [node.tagName, node.className, node.parentElement.className].join();
    if (!kinds.has(kind)) kinds.set(kind, node);
  }
  return [...kinds.values()].filter((node) => {
    document.activeElement.blur();
    const before = look(node);
    node.focus();
    return document.activeElement !== node || look(node) === before;
  }).map((node) => node.outerHTML.slice(0, 150));
}"""
POSITIVE = (
    "() => [...document.querySelectorAll('[tabindex]')].filter((node) => node.tabIndex > 0).length"
)
# Where the focus is, and whether the reader can see it there (WCAG 2.2: not hidden under a header).
FOCUSED = """() => {
  const node = document.activeElement;
  if (node === document.body) return null;
  const boxes = [...node.getClientRects()];
  const seen = boxes.some((box) => {
    const x = Math.min(Math.max(box.x + box.width / 2, 1), innerWidth - 2);
    const y = Math.min(Math.max(box.y + box.height / 2, 1), innerHeight - 2);
    const top = document.elementFromPoint(x, y);
    return top && (node.contains(top) || top.contains(node));
  });
  window.walked ??= [];
  const order = [...document.querySelectorAll("*")].indexOf(node);
  return { seen, order, html: node.outerHTML.slice(0, 150) };
}"""
STEPS = 80  # with the Tab key on each page; the rest of the page is made of the same parts


def test_the_page_asks_no_other_host_and_does_not_complain(desktop, phone, site):
    for visited in (desktop, phone):
        assert [
            url for url in visited.requests if not url.startswith((site, "data:", "blob:"))
        ] == []
        assert visited.messages == []


def test_nothing_sticks_out_on_a_phone(phone):
    assert phone.page.evaluate(STICKING_OUT) == []


def test_headings_are_in_order(desktop):
    headings = desktop.page.evaluate(HEADINGS)
    assert [text for level, text in headings if level == 1][1:] == [], "one title"
    assert headings and headings[0][0] == 1
    skipped = [
        later for earlier, later in itertools.pairwise(headings) if later[0] > earlier[0] + 1
    ]
    assert skipped == []


def test_figures_have_a_description_and_their_data(desktop):
    figures = desktop.page.evaluate(FIGURES)
    assert [figure for figure in figures if len(figure["alt"]) < 40 or not figure["rows"]] == []
    if desktop.name.startswith("notebooks/"):
        assert figures, "a chapter has figures"


def test_what_scrolls_can_be_reached_by_keyboard(desktop, phone):
    for visited in (desktop, phone):
        visited.page.wait_for_timeout(100)  # for the observer of sizes
        assert visited.page.evaluate(UNREACHABLE) == []


def test_nothing_moves_for_a_reader_who_wants_no_motion(phone):
    assert phone.page.evaluate(MOVING) == []


def test_focus_is_shown(desktop):
    desktop.page.keyboard.press("Tab")  # from here on the browser counts focus as the keyboard's
    assert desktop.page.evaluate(NO_FOCUS_SHOWN) == []
    assert desktop.page.evaluate(POSITIVE) == 0


def test_tab_walks_forward_and_is_seen(desktop):
    page = desktop.page
    page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
    page.mouse.click(2, 2)
    last, hidden, back = -1, [], []
    for _ in range(STEPS):
        page.keyboard.press("Tab")
        focused = page.evaluate(FOCUSED)
        if focused is None:
            break
        hidden += [] if focused["seen"] else [focused["html"]]
        back += [focused["html"]] if focused["order"] <= last else []
        last = focused["order"]
    assert last > 0
    assert hidden == []
    assert back == []


@pytest.mark.parametrize("view", ["desktop", "phone"])
def test_axe_finds_nothing(request, view, name, axe_source):
    """Every rule on the desktop, light; on the phone, dark, those whose answer size or colour can change."""
    page = request.getfixturevalue(view).page
    page.evaluate(THIN)
    page.evaluate("scrollTo(0, 0)")  # what the header covers further down is no small target
    page.evaluate(axe_source)
    rules = {"tags": AXE_TAGS} if view == "desktop" else {"colour": COLOUR_RULES}
    assert page.evaluate(AXE, rules) == []
