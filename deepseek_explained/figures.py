"""One figure style for the whole book: readable on a phone, in the dark, by the colour-blind and by a screen reader.

A figure is shown as SVG inside the page. Its ink is the text colour of the page and its series colours are style
variables, so that one picture serves light and dark; `show` refuses a figure without a description.
"""

import hashlib
import html
import io
import re
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from IPython.display import HTML, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from deepseek_explained.facts import Comparison

INK = "#1b1b1d"
FAINT = "#8d8d92"
# Okabe and Ito's palette, in the order of contrast on white; a second carrier (marker, hatch, label) goes with it.
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f6bb3", "#a8753f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "///", "...", "xx", "\\\\\\", "++", "oo", "--")

SHORTEST_ALT = 40

COMPARISONS = "application/vnd.deepseek-explained.comparisons+json"

STYLE = {
    "figure.dpi": 100,
    "figure.constrained_layout.w_pad": 0.1,
    "font.size": 11,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.prop_cycle": plt.cycler(color=SERIES, marker=MARKERS),
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.linewidth": 0.6,
    "legend.frameon": False,
    "lines.markersize": 4.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "deepseek-explained",
}


def new_figure(height: float = 3.0, width: float = 4.4, **subplots) -> tuple[Figure, Axes]:
    """A figure in the book's style, `width` by `height` inches: 4.4 inches are a phone's width."""
    plt.rcParams.update(STYLE)
    return plt.subplots(figsize=(width, height), layout="constrained", **subplots)


def check_alt(alt: str) -> str:
    """`alt`, if it is a description that can stand in for the picture. Raises ValueError otherwise."""
    words = alt.split() if isinstance(alt, str) else []
    if len(" ".join(words)) < SHORTEST_ALT or len(words) < 6:
        raise ValueError(
            f"alt: expected a sentence of at least {SHORTEST_ALT} characters "
            f"that says what the figure shows, got {alt!r}"
        )
    return " ".join(words)


def to_svg(figure: Figure, alt: str) -> str:
    """The figure as an SVG element whose colours follow the page."""
    alt = check_alt(alt)
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    svg = re.sub(
        r' id="(?:figure|axes|patch|line2d|text|matplotlib\.axis|xtick|ytick|legend)[\w.]*"',
        "",
        svg,
    )
    width, height = (
        float(number) for number in re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg).groups()
    )
    opening = f'<svg viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{html.escape(alt)}" xmlns="http://www.w3.org/2000/svg"'
    opening += ' xmlns:xlink="http://www.w3.org/1999/xlink">'
    svg = opening + svg[svg.index(">") + 1 :]
    svg = svg.replace(INK, "currentColor").replace(
        "'DejaVu Sans'", "system-ui, 'DejaVu Sans', sans-serif"
    )
    # Several figures share a page: what they define and refer to must not be mixed up.
    mark = hashlib.sha256(svg.encode()).hexdigest()[:8]
    svg = re.sub(r'( id="|href="#|url\(#)', rf"\g<1>f{mark}-", svg)
    for number, colour in enumerate(SERIES, start=1):
        svg = svg.replace(colour, f"var(--series-{number}, {colour})")
    return svg.strip()


def to_table(header: Sequence[str], rows: Sequence[Sequence]) -> str:
    """Rows of text as an HTML table; on a phone each row becomes a block, its cells labelled by the header.

    A cell that is already HTML (`IPython.display.HTML`) goes in as it is.
    """

    def cell(label: str, content: object) -> str:
        text = content.data if isinstance(content, HTML) else html.escape(str(content))
        return f'<td data-label="{html.escape(label)}">{text}</td>'

    head = "".join(f'<th scope="col">{html.escape(label)}</th>' for label in header)
    body = "".join("<tr>" + "".join(map(cell, header, row)) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="book-table">{table}</div>'


def show_comparisons(comparisons: Sequence[Comparison], labels: Sequence[str] = ()) -> None:
    """Show published beside derived figures as a table: each with its difference and a link to the ledger.

    The same rows go into the output as data, from which `tools/scoreboard.py` writes the scoreboard.
    """
    if labels and len(labels) != len(comparisons):
        raise ValueError(
            f"labels: expected one for each of the {len(comparisons)} comparisons, got {len(labels)}"
        )
    rows, records = [], []
    for number, comparison in enumerate(comparisons):
        figure = comparison.figure
        label = labels[number] if labels else figure.id
        link = f'<a href="../book/ledger.html#{figure.id}">{html.escape(label)}</a>'
        rows.append(
            (
                HTML(link),
                figure,
                comparison.derived_number,
                f"{comparison.difference:+.2%}",
                comparison.verdict,
            )
        )
        records.append(
            {
                "id": figure.id,
                "label": label if labels else "",
                "derived": comparison.derived,
                "why": comparison.why,
                "circular": comparison.circular,
                "lead": comparison.lead,
                "same_source": comparison.same_source,
            }
        )
    header = ("figure", "published", "derived, in the same unit", "difference", "verdict")
    table = to_table(header, rows)
    _show_recorded(table, " ".join(record["id"] for record in records), rows=records)


def show_numbers(numbers: Mapping[str, tuple[str, str]]) -> None:
    """Show results under names: name -> (what it is, the number with its unit).

    They go into the output as data too, so that a page can quote one with the role {derived}.
    """
    rows = [(meaning, number) for meaning, number in numbers.values()]
    texts = {name: number for name, (_, number) in numbers.items()}
    _show_recorded(to_table(("what", "number"), rows), " ".join(numbers), numbers=texts)


def _show_recorded(table: str, names: str, **data: object) -> None:
    """A table with an anchor, and its content as data for `tools/scoreboard.py`."""
    anchor = f"derived-{hashlib.sha256(names.encode()).hexdigest()[:8]}"
    table = table.replace("<div ", f'<div id="{anchor}" ', 1)
    display({"text/html": table, COMPARISONS: {"anchor": anchor, **data}}, raw=True)


def show(
    figure: Figure,
    alt: str,
    caption: str = "",
    header: Sequence[str] = (),
    rows: Sequence[Sequence] = (),
    wide: bool = False,
) -> None:
    """Show a figure with its description, caption and data.

    alt: what a reader who cannot see the picture should know, in a sentence or two. Raises ValueError if too short.
    caption: printed under the picture: what was run, with how many seeds, on which machine.
    header, rows: the figure's numbers, folded away as a table.
    """
    svg = to_svg(figure, alt)
    plt.close(figure)
    parts = [f'<figure class="book-figure{" wide" if wide else ""}">', svg]
    if caption:
        parts.append(f"<figcaption>{html.escape(caption)}</figcaption>")
    if rows:
        parts.append(
            f'<details class="figure-data"><summary>The figure as a table</summary>{to_table(header, rows)}</details>'
        )
    display(HTML("\n".join([*parts, "</figure>"])))
