"""The scoreboard page: `{scoreboard}` prints every figure that the notebooks derive again, as one table.

    ```{scoreboard}
    ```

The rows come from `book/scoreboard.json`, which `make scoreboard` writes from the executed notebooks and which
`make test` compares with them. The page offers the same rows as `scoreboard.csv`. `_static/scoreboard.js` sorts and
filters; without it the whole table shows.
{derived}`v3.total_pub` in the text is the derived number of that row, linked to the cell that computes it.
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
    """Id -> (Comparison, row), sorted as the ledger is."""
    rows = json.loads(board_path(app).read_text(encoding="utf-8"))
    return {
        identifier: (facts.compare(identifier, row["derived"], row["why"]), row)
        for identifier, row in rows.items()
    }


def address(app, docname, row):
    """Where the row is computed, as seen from the page `docname`."""
    return (
        relative_uri(f"{docname}.html", f"notebooks/{row['notebook']}.html") + f"#{row['anchor']}"
    )


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
        summary = "".join(
            f"<li><strong>{counts[verdict]}</strong> {verdict}: {meaning}</li>"
            for verdict, meaning in VERDICTS.items()
        )
        choices = "".join(f"<option>{verdict}</option>" for verdict in VERDICTS)
        rows = "".join(self.row(identifier, *entry) for identifier, entry in sorted(board.items()))
        head = "".join(f'<th scope="col">{name}</th>' for name in HEADER)
        parts = [
            f'<p>{len(board)} published figures, derived again:</p><ul class="score-summary">{summary}</ul>',
            '<form class="ledger-filter score-filter" role="search" aria-label="Filter the scoreboard" hidden>',
            '<label>Search <input type="search" autocomplete="off"></label>',
            f'<label>Verdict <select><option value="">any</option>{choices}</select></label>',
            '<output aria-live="polite"></output></form>',
            '<p><a href="scoreboard.csv" download>The same as CSV</a></p>',
            f'<div class="book-table scoreboard"><table><thead><tr>{head}</tr></thead>',
            f"<tbody>{rows}</tbody></table></div>",
        ]
        return [nodes.raw("", "".join(parts), format="html")]

    def row(self, identifier, comparison, row):
        figure = comparison.figure
        why = f'<div class="why">{html.escape(row["why"])}</div>' if row["why"] else ""
        cells = (
            f'<a href="ledger.html#{identifier}">{identifier}</a>'
            f'<div class="counts">{html.escape(figure.counts)}</div>',
            html.escape(str(figure)),
            html.escape(comparison.derived_number),
            f'<span data-sort="{abs(comparison.difference):.12g}">{comparison.difference:+.2%}</span>',
            f"{comparison.verdict}{why}",
            f'<a href="{address(self.env.app, self.env.docname, row)}">{row["notebook"]}</a>',
        )
        data = "".join(
            f'<td data-label="{name}">{cell}</td>' for name, cell in zip(HEADER, cells, strict=True)
        )
        return f'<tr id="score-{identifier}" data-verdict="{comparison.verdict}">{data}</tr>'


class DerivedRole(SphinxRole):
    """{derived}: the number that the book derives for a ledger figure, linked to where it is computed."""

    def run(self):
        identifier = self.text.strip()
        self.env.note_dependency(str(board_path(self.env.app)))
        try:
            comparison, row = read_board(self.env.app)[identifier]
        except (OSError, ValueError, KeyError):
            message = self.inliner.reporter.error(
                f"{identifier}: not on the scoreboard", line=self.lineno
            )
            return [self.inliner.problematic(self.rawtext, self.rawtext, message)], [message]
        text = f"{comparison.derived_number} {comparison.figure.unit}".strip()
        target = address(self.env.app, self.env.docname, row)
        link = nodes.reference(text, text, refuri=target, internal=True, classes=["derived"])
        return [link], []


def csv_row(identifier, comparison, row):
    figure = comparison.figure
    return {
        "id": identifier,
        "counts": figure.counts,
        "published_low": figure.low,
        "published_high": figure.high,
        "unit": figure.unit,
        "derived": repr(comparison.derived / float(figure.scale)),
        "difference": f"{comparison.difference:.6g}",
        "verdict": comparison.verdict,
        "why": row["why"],
        "source": figure.source,
        "locator": figure.locator,
        "date": figure.date,
        "standing": figure.standing,
        "notebook": row["notebook"],
        "cell": row["cell"],
    }


def write_csv(app, exception):
    if exception or app.builder.format != "html" or not board_path(app).exists():
        return
    try:
        board = read_board(app)
    except (KeyError, ValueError):  # the page has reported it
        return
    rows = [csv_row(identifier, *entry) for identifier, entry in sorted(board.items())]
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
