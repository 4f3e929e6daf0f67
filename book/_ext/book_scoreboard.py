"""The scoreboard page: `{scoreboard}` prints every published figure that the book derives again, as one table.

    ```{scoreboard}
    ```

The rows come from `book/scoreboard.json`, which `make scoreboard` writes from the executed notebooks and pages, and
which `make test` compares with them. The page offers the same rows as `scoreboard.csv`. `_static/scoreboard.js` sorts
and filters; without it the whole table shows.
{derived}`v3.total_pub` in the text is the derived number of that row, and {derived}`total_cost.development` a number
that a chapter shows under this name, each linked to the cell that computes it.
"""

import csv
import html
import json
from collections import Counter
from pathlib import Path

from docutils import nodes
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.osutil import relative_uri

from deepseek_explained import facts

WORST_FIRST = ("off, unexplained", "off, explained", "exact", "within rounding", "inside")
HEADER = ("figure", "published", "derived", "difference", "verdict", "where")
VERDICTS = {
    "exact": "the same number",
    "within rounding": "prints as the published one",
    "inside": "inside the published range",
    "off, explained": "differs, and the reason is known",
    "off, unexplained": "differs, and the reason is not known",
}


def board_path(app):
    return Path(app.srcdir) / "book" / "scoreboard.json"


def read_board(app):
    """Key -> (Comparison, row), what is off first, then by id; several rows of one figure keep their order."""
    rows = json.loads(board_path(app).read_text(encoding="utf-8"))["figures"]
    board = {
        key: (facts.compare(key.split("#")[0], row["derived"], row["why"]), row)
        for key, row in sorted(rows.items())
    }
    return dict(sorted(board.items(), key=lambda entry: WORST_FIRST.index(entry[1][0].verdict)))


def address(app, docname, row):
    """Where the row is computed, as seen from the page `docname`."""
    return relative_uri(f"{docname}.html", f"{row['page']}.html") + f"#{row['anchor']}"


class Scoreboard(SphinxDirective):
    """The table, its filter, a count by verdict and a link to the CSV."""

    def run(self):
        app = self.env.app
        self.env.note_dependency(str(board_path(app)))
        try:
            board = read_board(app)
        except (OSError, ValueError, KeyError) as error:
            raise self.error(f"scoreboard: {error}") from None
        counts = Counter(comparison.verdict for comparison, _ in board.values())
        figures = {comparison.figure.id for comparison, _ in board.values()}
        within = sum(row["same_source"] for _, row in board.values())
        summary = "".join(
            f"<li><strong>{counts[verdict]}</strong> {verdict}: {meaning}</li>"
            for verdict, meaning in VERDICTS.items()
        )
        choices = "".join(f"<option>{verdict}</option>" for verdict in VERDICTS)
        orders = "".join(
            f'<option value="{column}"{" selected" * (name == "verdict")}>{name}</option>'
            for column, name in enumerate(HEADER)
            if name not in ("published", "derived")  # figures of different units have no order
        )
        rows = "".join(self.row(key, *entry) for key, entry in board.items())
        head = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
        parts = [
            f"<p>{len(figures)} published figures, derived again in {len(board)} ways, of which {within} test only "
            "the arithmetic of one source:</p>",
            f'<ul class="score-summary">{summary}</ul>',
            f"<p>The other {len(facts.ledger()) - len(figures)} figures of the ledger are not here: they are starting "
            "points, or no calculation that we know leads to them.</p>",
            '<form class="ledger-filter score-filter" role="search" aria-label="Filter and sort" hidden>',
            '<label>Search <input type="search" autocomplete="off"></label>',
            f'<label>Verdict <select name="verdict"><option value="">any</option>{choices}</select></label>',
            f'<label>Sort by <select name="order">{orders}</select></label>',
            '<output aria-live="polite"></output></form>',
            '<p><a href="scoreboard.csv" download>The same as CSV</a> · ',
            '<a href="#after-scoreboard">Skip the table</a></p>',
            f'<div class="book-table scoreboard"><table><thead><tr>{head}</tr></thead>',
            f'<tbody>{rows}</tbody></table></div><p id="after-scoreboard" tabindex="-1">The end of the table.</p>',
        ]
        return [nodes.raw("", "".join(parts), format="html")]

    def row(self, key, comparison, row):
        figure = comparison.figure
        said = [row["why"], row["lead"] and f"One reading that would fit: {row['lead']}"]
        said.append(row["same_source"] and "Arithmetic within one source.")
        notes = "".join(f'<div class="why">{html.escape(text)}</div>' for text in said if text)
        how = f'<div class="counts">{html.escape(row["label"])}</div>' if row["label"] else ""
        order = WORST_FIRST.index(comparison.verdict)
        cells = (
            f"{html.escape(figure.counts)}"
            f'<div class="counts"><a href="ledger.html#{figure.id}">{figure.id}</a></div>',
            html.escape(str(figure).replace("E+", "e")),
            f"{html.escape(comparison.derived_to(3, more=1).replace('e+', 'e'))}{how}",
            f'<span data-sort="{abs(comparison.difference):.12g}">{comparison.difference:+.2%}</span>',
            f'<span data-sort="{order}">{comparison.verdict}</span>{notes}',
            f'<a href="{address(self.env.app, self.env.docname, row)}">{Path(row["page"]).name}</a>',
        )
        data = "".join(
            f'<td data-label="{name}">{cell}</td>' for name, cell in zip(HEADER, cells, strict=True)
        )
        return f'<tr id="score-{key.replace("#", "-")}" data-verdict="{comparison.verdict}">{data}</tr>'


class DerivedRole(SphinxRole):
    """{derived}: the number that the book derives for a ledger figure, or shows under a name, linked to its cell."""

    def run(self):
        name = self.text.strip()
        app = self.env.app
        self.env.note_dependency(str(board_path(app)))
        try:
            text, row = self.number(name)
        except (OSError, ValueError, KeyError):
            message = self.inliner.reporter.error(
                f"{name}: not on the scoreboard", line=self.lineno
            )
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        target = address(app, self.env.docname, row)
        return [nodes.reference(text, text, refuri=target, internal=True, classes=["derived"])], []

    def number(self, name):
        numbers = json.loads(board_path(self.env.app).read_text(encoding="utf-8"))["numbers"]
        if name in numbers:
            return numbers[name]["text"], numbers[name]
        comparison, row = read_board(self.env.app)[name]
        return f"{comparison.derived_to(3)} {comparison.figure.unit}".strip(), row


def csv_row(key, comparison, row):
    figure = comparison.figure
    return {
        "id": figure.id,
        "counts": figure.counts,
        "published_low": figure.low,
        "published_high": figure.high,
        "unit": figure.unit,
        "derived": repr(comparison.derived / float(figure.scale)),
        "convention": row["label"],
        "difference": f"{comparison.difference:.6g}",
        "verdict": comparison.verdict,
        "why": row["why"],
        "reading_that_would_fit": row["lead"],
        "within_one_source": row["same_source"],
        "source": figure.source,
        "locator": figure.locator,
        "date": figure.date,
        "standing": figure.standing,
        "page": f"{row['page']}.html#{row['anchor']}",
    }


def write_csv(app, exception):
    if exception or app.builder.format != "html" or not board_path(app).exists():
        return
    try:
        board = read_board(app)
    except (KeyError, ValueError):  # the page has reported it
        return
    rows = [csv_row(key, *entry) for key, entry in board.items()]
    path = Path(app.outdir) / "book" / "scoreboard.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys() if rows else ["id"])
        writer.writeheader()
        writer.writerows(rows)


def add_script(app, pagename, templatename, context, doctree):
    if pagename == "book/scoreboard":
        app.add_js_file("scoreboard.js", loading_method="defer")


def setup(app):
    app.setup_extension("book_facts")
    app.add_directive("scoreboard", Scoreboard)
    app.add_role("derived", DerivedRole())
    app.connect("html-page-context", add_script)
    app.connect("build-finished", write_csv)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
