"""Slides and answers: what is on the page is in them, and what is missing is named."""

import pytest
from test_tools import load

PAGE = """<article><h1>A chapter<a class="headerlink" href="#x">#</a></h1>
<section id="the-claim"><p>They <a href="../book/ledger.html#a">say</a> so.</p>
<p><strong>At the end you can</strong> count.</p><p>The core path is short.</p></section>
<section id="measure-it"><h2>Measure it</h2><h3>How fast?</h3>
<figure class="book-figure"><svg id="one"></svg><figcaption>Three seeds.</figcaption></figure></section>
<section id="what-it-costs"><h2>What it costs</h2><div id="derived-1"><table><tr><td>7</td></tr></table></div></section>
<section id="the-verdict"><p>It holds.</p><p>Nearly.</p></section>
<section id="exercises"><section><h3>1. By hand (5 minutes)</h3>
<details><summary>Solution</summary><p>forty-two</p></details></section></section></article>"""


@pytest.fixture
def classroom(tmp_path, monkeypatch):
    module = load("classroom")
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "one.html").write_text(PAGE, encoding="utf-8")
    monkeypatch.setattr(module, "SITE", tmp_path)
    monkeypatch.setattr(module, "chapters", lambda: ["one"])
    return module


def test_slides_show_claim_goals_figures_tables_verdict_and_exercises_in_order(classroom):
    page = classroom.slides_of("one")
    slides = page.split("<section")[1:]
    assert len(slides) == 7
    parts = (
        "They say so.",
        "count.",
        'id="one"',
        "<td>7</td>",
        "It holds.",
        "Nearly.",
        "By hand (5 minutes)",
    )
    for slide, part in zip(slides, parts, strict=True):
        assert part in slide
    assert "How fast?" in slides[2] and "Three seeds." in slides[2]
    assert "core path" not in page and "href" not in page and "src=" not in page
    assert "--series-1:" in page  # the figures' colours


def test_answers_are_unfolded(classroom):
    page = classroom.answers()
    assert '<details open="">' in page and "forty-two" in page and "A chapter" in page


def test_a_site_that_is_not_there_or_lost_a_part_is_named(classroom):
    (classroom.SITE / "notebooks" / "one.html").write_text(PAGE.replace("the-verdict", "verdict"))
    with pytest.raises(SystemExit, match="A chapter: expected a section 'the-verdict', found none"):
        classroom.slides_of("one")
    with pytest.raises(SystemExit, match="make book"):
        classroom.article("two")


def test_the_chapters_are_those_of_the_contents():
    assert load("classroom").chapters()[0] == "budget"
