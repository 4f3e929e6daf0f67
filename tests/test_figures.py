import re

import pytest

from deepseek_explained import figures
from deepseek_explained.facts import compare

ALT = "A line that rises from one to three while the reader looks at it."


def drawn():
    figure, axes = figures.new_figure()
    axes.plot([1, 2, 3])
    axes.set_xlabel("time")
    return figure


def test_ink_follows_the_page_and_series_are_style_variables():
    svg = figures.to_svg(drawn(), ALT)
    assert f'aria-label="{ALT}"' in svg
    assert 'role="img"' in svg
    assert figures.INK not in svg
    assert "currentColor" in svg
    assert f"var(--series-1, {figures.SERIES[0]})" in svg
    assert not re.search(r'id="(figure|axes|text|patch)_\d', svg)


def test_the_same_figure_is_the_same_text():
    assert figures.to_svg(drawn(), ALT) == figures.to_svg(drawn(), ALT)


@pytest.mark.parametrize(
    "alt", ["", "A plot.", "loss_curve_final_version_3_really_final_one.png", None]
)
def test_a_figure_without_a_real_description_is_refused(alt):
    with pytest.raises(ValueError, match="alt: expected a sentence"):
        figures.to_svg(drawn(), alt)


def test_description_and_table_are_escaped():
    assert 'aria-label="a &lt; b &amp; c' in figures.to_svg(
        drawn(), "a < b & c, which is more than enough to say here"
    )
    table = figures.to_table(("a<b", "n"), [("x&y", 1)])
    assert "a&lt;b" in table
    assert "x&amp;y" in table


def test_show_puts_picture_caption_and_data_into_one_figure(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda html: shown.append(html.data))
    figures.show(drawn(), ALT, caption="Three runs.", header=("x", "y"), rows=[(1, 2)], wide=True)
    assert shown[0].startswith('<figure class="book-figure wide">')
    assert "<figcaption>Three runs.</figcaption>" in shown[0]
    assert '<td data-label="y">2</td>' in shown[0]


def test_comparisons_are_shown_as_a_table_and_as_data(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    row = compare("v3.layers", 60, why="one is missing")
    figures.show_comparisons([row, compare("v3.layers", 62, lead="perhaps")], ["less", "more"])
    page, data = shown[0]["text/html"], shown[0][figures.COMPARISONS]
    assert f'<div id="{data["anchor"]}" class="book-table">' in page
    assert "off, explained" in page
    said = {"id": "v3.layers", "circular": False, "same_source": False}
    assert data["rows"] == [
        said | {"label": "less", "derived": 60, "why": "one is missing", "lead": ""},
        said | {"label": "more", "derived": 62, "why": "", "lead": "perhaps"},
    ]
    assert "off, unexplained" in page  # a lead explains nothing


def test_numbers_are_shown_as_a_table_and_by_name(monkeypatch):
    shown = []
    monkeypatch.setattr(figures, "display", lambda data, raw: shown.append(data))
    figures.show_numbers({"budget.most": ("the most", "12 %")})
    page, data = shown[0]["text/html"], shown[0][figures.COMPARISONS]
    assert f'<div id="{data["anchor"]}" class="book-table">' in page
    assert "the most" in page and "12 %" in page
    assert data["numbers"] == {"budget.most": "12 %"}


def test_a_label_too_few_or_too_many_is_refused():
    found = [compare("v3.layers", 61)]
    for labels in (["layers", "more"], ["a", "b", "c"]):
        with pytest.raises(ValueError, match="labels: expected one for each of the 1 comparisons"):
            figures.show_comparisons(found, labels)
