"""What the calculators show: numbers as text, tables and figures as HTML and SVG."""

import math
from dataclasses import dataclass

WIDTH = 360  # of a figure, in its own units; letters stay readable on a phone
LEFT, RIGHT = 12, 348


def escape(text: object) -> str:
    pairs = (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"))
    text = str(text)
    for character, entity in pairs:
        text = text.replace(character, entity)
    return text


def capitalised(text: str) -> str:
    return text[0].upper() + text[1:]


def significant(value: float, digits: int = 4) -> str:
    """The number with so many digits that count, or more if it is large: 0.1234, 12.34, 123,457."""
    if value == 0:
        return "0"
    size = int(f"{abs(value):e}".partition("e")[2])
    return f"{value:,.{max(digits - 1 - size, 0)}f}"


def scaled(value: float, digits: int = 4) -> str:
    """The number in words: 5.576 million."""
    for size, word in ((1e12, "trillion"), (1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{significant(value / size, digits)} {word}"
    return significant(value, digits)


def plain(value: float) -> str:
    """The number to six digits, without zeros that say nothing."""
    return f"{value:,.6g}"


def dollars(value: float, digits: int = 4) -> str:
    return f"${scaled(value, digits)}"


@dataclass(frozen=True)
class Cell:
    """A number of a table: its value, which is downloaded, and the text that shows it."""

    value: float
    text: str


@dataclass(frozen=True)
class Table:
    title: str
    header: tuple
    rows: list

    def html(self) -> str:
        head = "".join(f'<th scope="col">{escape(name)}</th>' for name in self.header)
        body = "".join(self._row(row) for row in self.rows)
        return (
            f'<div class="calculator-table" role="region" tabindex="0" aria-label="{escape(self.title)}"><table>'
            f"<caption>{escape(self.title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
        )

    def _row(self, row):
        first, *rest = (cell.text if isinstance(cell, Cell) else cell for cell in row)
        cells = "".join(f"<td>{escape(text)}</td>" for text in rest)
        return f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>'

    def values(self) -> list:
        return [
            [cell.value if isinstance(cell, Cell) else cell for cell in row] for row in self.rows
        ]


@dataclass(frozen=True)
class Figure:
    """A drawing, what it shows in words, its caption, and the table with its numbers."""

    svg: str
    alt: str
    caption: str
    table: Table | None = None

    def html(self) -> str:
        data = ""
        if self.table:
            data = (
                '<details class="figure-data"><summary>The numbers of this figure</summary>'
                f"{self.table.html()}</details>"
            )
        return (
            f'<figure class="book-figure calculator-figure">{self.svg.replace("<svg ", self._named(), 1)}'
            f"<figcaption>{escape(self.caption)}</figcaption>{data}</figure>"
        )

    def _named(self):
        return f'<svg role="img" aria-label="{escape(self.alt)}" '


def _svg(parts, height):
    return f'<svg viewBox="0 0 {WIDTH} {height:.0f}" xmlns="http://www.w3.org/2000/svg">{"".join(parts)}</svg>'


def _text(x, y, text, anchor="start", kind="ink"):
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="c-{kind}">{escape(text)}</text>'


def _rect(x, y, width, height, series):
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 1):.1f}" height="{height:.1f}" class="c-fill-{series}"/>'


def _line(x1, y1, x2, y2, kind):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="c-{kind}"/>'


def _power(value: float) -> int:
    """The power of ten in the number: 3 of 5,400."""
    return int(f"{value:e}".partition("e")[2])


class Axis:
    """Places numbers from `low` to `high` between two ends of the drawing, in steps or in powers of ten."""

    def __init__(self, low, high, start, end, log=False):
        if log:
            low = low or high / 1e3
        if low == high:
            low, high = (low / 2, high * 2) if high else (0, 1)
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log

    def __call__(self, value):
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def ticks(self, most=6):
        if self.log:
            steps = [
                mantissa * 10.0**power
                for power in range(_power(self.low) - 1, _power(self.high) + 1)
                for mantissa in (1, 2, 5)
            ]
            for chosen in (
                steps,
                [s for s in steps if f"{s:e}"[0] != "2"],
                [s for s in steps if f"{s:e}"[0] == "1"],
            ):
                ticks = [step for step in chosen if self.low <= step <= self.high]
                if len(ticks) <= most:
                    return ticks
            return ticks[:: len(ticks) // most + 1]
        power = _power(self.high - self.low) - 1
        for step in (
            size * 10.0**power for power in (power, power + 1, power + 2) for size in (1, 2, 5)
        ):
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            if last - first < most:
                return [number * step for number in range(first, last + 1)]
        return []


def _tick_text(value):
    return scaled(float(f"{value:.6g}"), 1) if value >= 1e6 else plain(value)


def _below(axis, bottom, top, name):
    """The axis under a drawing: lines, numbers and what they count."""
    parts, last = [], -100.0
    for tick in axis.ticks():
        x, text = axis(tick), _tick_text(tick)
        parts.append(_line(x, top, x, bottom, "grid"))
        half = 3.4 * len(text)
        if x - half > last and x - half > -4 and x + half < WIDTH + 4:
            parts.append(_text(x, bottom + 15, text, "middle", "faint"))
            last = x + half + 4
    return [*parts, _text(WIDTH / 2, bottom + 32, name, "middle", "faint")]


def bars(items) -> str:
    """Horizontal bars: [(label, [(series, value, text)])]; each bar says its number."""
    most = max((value for _, group in items for _, value, _ in group), default=1) or 1
    parts, y = [], 4.0
    for label, group in items:
        parts.append(_text(LEFT, y + 13, label))
        y += 19
        for series, value, text in group:
            width = 190 * value / most
            parts += [
                _rect(LEFT, y, width, 12, series),
                _text(LEFT + width + 5, y + 11, text, kind="faint"),
            ]
            y += 16
        y += 6
    return _svg(parts, y)


def intervals(items, name, log=False, base=None) -> str:
    """Bars from low to high, a mark in between: [(label, text, low, middle, high)]; `base` is a line through all."""
    ends = [end for _, _, low, _, high in items for end in (low, high)]
    axis = Axis(min(ends), max(ends), LEFT + 8, RIGHT - 8, log)
    y, rows = 4.0, []
    for label, text, low, middle, high in items:
        rows += [_text(LEFT, y + 13, label), _text(LEFT, y + 28, text, kind="faint")]
        x = axis(low)
        rows.append(_rect(x, y + 34, axis(high) - x, 12, 1))
        if middle is not None:
            rows.append(_line(axis(middle), y + 31, axis(middle), y + 49, "mark"))
        y += 58
    parts = _below(axis, y, 4, name)
    if base is not None:
        parts.append(_line(axis(base), 4, axis(base), y, "base"))
    return _svg([*parts, *rows], y + 38)


def in_bins(values, n_bins=30) -> list:
    """[(from, to, how many)] of equal width; values beyond the widest hundredth on the right are left out."""
    ordered = sorted(values)
    low, high = ordered[0], ordered[min(int(0.99 * len(ordered)), len(ordered) - 1)]
    axis = Axis(low, high, 0, n_bins)
    counts = [0] * n_bins
    for value in ordered:
        if value <= axis.high:
            counts[min(int(axis(value)), n_bins - 1)] += 1
    edges = [axis.low + place * (axis.high - axis.low) / n_bins for place in range(n_bins + 1)]
    return list(zip(edges, edges[1:], counts, strict=False))


def histogram(bins, marks, name) -> str:
    """How often results fell where, from `in_bins`; `marks` are [(value, text)], from left to right, drawn as lines."""
    counts = [count for _, _, count in bins]
    axis = Axis(bins[0][0], bins[-1][1], LEFT + 8, RIGHT - 8)
    most, bottom, top = max(counts) or 1, 220.0, 66.0
    parts = _below(axis, bottom, top, name)
    step = (axis.end - axis.start) / len(bins)
    for place, count in enumerate(counts):
        height = (bottom - top) * count / most
        if count:
            parts.append(
                _rect(axis.start + place * step + 0.5, bottom - height, step - 1, height, 1)
            )
    for row, (value, text) in enumerate(marks):
        x = min(max(axis(value), axis.start), axis.end)
        anchor = "start" if x < WIDTH / 2 else "end"
        parts.append(_line(x, 16 + 17 * row, x, bottom, "mark"))
        parts.append(_text(x + (4 if anchor == "start" else -4), 17 + 17 * row, text, anchor))
    return _svg(parts, bottom + 38)


MARKERS = (
    '<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" class="c-fill-{n}"/>',
    '<path d="M{x:.1f} {y:.1f}m-4 3.5h8l-4 -7z" class="c-fill-{n}"/>',
    '<path d="M{x:.1f} {y:.1f}m-3.5 -3.5h7v7h-7z" class="c-fill-{n}"/>',
)


def lines(series, x_name, y_name, log_x=True, log_y=True, mark=None) -> str:
    """Lines with markers: [(name, [(x, y)])]; `mark` is a value of x with a line through it."""
    xs = [x for _, points in series for x, _ in points]
    ys = [y for _, points in series for _, y in points]
    top, bottom = 22.0 + 17 * len(series), 300.0
    across = Axis(min(xs), max(xs), LEFT + 44, RIGHT - 8, log_x)
    up = Axis(min(ys) if log_y else 0, max(ys), bottom, top + 8, log_y)
    parts = [_text(LEFT, 13, y_name, kind="faint"), *_below(across, bottom, top, x_name)]
    for tick in up.ticks():
        y = up(tick)
        parts += [
            _line(across.start, y, RIGHT, y, "grid"),
            _text(across.start - 5, y + 4, _tick_text(tick), "end", "faint"),
        ]
    if mark is not None:
        parts.append(_line(across(mark), top, across(mark), bottom, "base"))
    for number, (name, points) in enumerate(series, start=1):
        places = [(across(x), up(y)) for x, y in points]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{path}" class="c-line-{number}"/>')
        row = 13 + 17 * number
        parts.append(_line(LEFT, row - 4, LEFT + 30, row - 4, f"line-{number}"))
        parts.append(_text(LEFT + 36, row, name))
        for x, y in [*places, (LEFT + 15, row - 4)]:
            parts.append(MARKERS[number - 1].format(x=x, y=y, n=number))
    return _svg(parts, bottom + 38)
