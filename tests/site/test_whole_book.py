"""What holds of the book as a whole: the way through it, its search, its light and dark."""

import re
from urllib.parse import quote

import pytest
from conftest import DESKTOP, ROOT, SITE, TOC, visit

# What a student types, and a page or section that must be among the first three results.
SEARCHES = {
    "MLA": "notebooks/mla.html",
    "mixture of experts": "notebooks/moe.html",
    "how much did deepseek cost": "notebooks/training_cost.html",
    "is 6 million dollars true": "book/verdicts.html",
    "5.576 million": "book/intro.html#the-short-answer",
    "nvidia 589 billion": "book/verdicts.html#nvidia-s-share",
    "kv cache": "book/glossary.html#term-key-value-cache",
    "router bias": "notebooks/moe.html#balance",
    "W^{UK}": "notebooks/mla.html#the-mathematics",
    "H800": "book/intro.html#the-short-answer",
    "speculative decoding": "book/glossary.html#term-speculative-decoding",
    "what is an expert": "book/glossary.html#term-expert",
    "GPU hours": "book/glossary.html#term-GPU-hour",
    "RoPE": "book/glossary.html#term-rotary-encoding",
    "50,000 GPUs": "book/verdicts.html#fifty-thousand-gpus",
    "price per million tokens": "notebooks/serving_cost.html",
    "how many parameters": "notebooks/budget.html",
    "kv_lora_rank": "book/ledger.html#v3.kv_lora_rank",
    "salaries": "book/verdicts.html#salaries",
    "attenion": "book/glossary.html#term-attention",
}


def test_the_table_of_contents_is_built():
    assert [name for name in TOC if not (SITE / name).is_file()] == []
    assert len(list((ROOT / "notebooks").glob("*.ipynb"))) == sum(
        "notebooks/" in name for name in TOC
    )


@pytest.mark.parametrize(("label", "pages"), [("next", TOC), ("prev", TOC[::-1])])
def test_previous_and_next_lead_through_the_whole_book(browser, site, label, pages):
    page = visit(browser, site, pages[0], **DESKTOP).page
    walked = [page.url]
    side = {"next": "a.right-next", "prev": "a.left-prev"}[label]
    while page.locator(side).count():
        page.locator(side).click()
        page.wait_for_url(lambda url: url != walked[-1])
        assert page.url not in walked, "in a circle"
        walked.append(page.url)
    page.context.close()
    assert walked == [f"{site}/{name}" for name in pages]


def test_skip_link(home):
    home.page.keyboard.press("Tab")
    assert home.page.evaluate("document.activeElement.innerText") == "Skip to main content"
    home.page.keyboard.press("Enter")
    home.page.keyboard.press("Tab")
    assert home.page.evaluate("document.querySelector('main').contains(document.activeElement)")


def test_the_theme_can_be_changed_and_is_remembered(home):
    seen = []
    for _ in range(3):
        home.page.locator("button.theme-switch-button:visible").first.click()
        seen.append(home.page.evaluate("document.documentElement.dataset.mode"))
    assert sorted(seen) == ["auto", "dark", "light"]
    while home.page.evaluate("document.documentElement.dataset.theme") != "dark":
        home.page.locator("button.theme-switch-button:visible").first.click()
    home.page.reload()
    assert home.page.evaluate("document.documentElement.dataset.theme") == "dark"


def test_the_page_follows_the_system(browser, site):
    papers = []
    for scheme in ("light", "dark"):
        visited = visit(browser, site, "index.html", **{**DESKTOP, "color_scheme": scheme})
        colour = visited.page.evaluate("getComputedStyle(document.body).backgroundColor")
        papers.append(max(map(int, re.findall(r"\d+", colour)[:3])))
        visited.page.context.close()
    assert papers[0] > 230 and papers[1] < 60


def results(page):
    """Titles and addresses of the search's results, best first."""
    page.wait_for_function(
        "/result|Nothing/.test(document.querySelector('.search-summary')?.innerText)"
    )
    links = page.locator("ul.search > li > a")
    return links.evaluate_all(
        "(found) => found.map((link) => [link.innerText, link.getAttribute('href')])"
    )


@pytest.mark.parametrize("query", SEARCHES)
def test_search_finds(browser, site, query):
    visited = visit(browser, site, f"search.html?q={quote(query)}", **DESKTOP)
    found = results(visited.page)[:3]
    assert visited.messages == []
    visited.page.context.close()
    assert any(SEARCHES[query] in address for _, address in found), found


def test_the_search_field_leads_to_results(home):
    home.page.keyboard.press("Control+k")
    home.page.keyboard.type("router bias")
    home.page.keyboard.press("Enter")
    home.page.wait_for_url("**/search.html?q=router+bias*")
    assert results(home.page)
