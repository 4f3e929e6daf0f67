"""The ledger: every published figure of the book, once, with its source.

`ledger.toml` holds one table a figure. `fact("v3.layers").value` is the number, `print(fact("v3.layers"))`
the number with its unit, and `compare("v3.total_pub", derived)` lays a derived number beside it.
A bad entry raises `ValueError` naming its id and field.
"""

import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from pathlib import Path

from deepseek_explained.config import flag

LEDGER_PATH = Path(__file__).with_name("ledger.toml")

STANDINGS = (
    "read in the source",
    "read in a copy or secondary source",
    "reported but not seen",
    "assumption",
)

SCALES = {
    **{"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12},
    **{"KB": 10**3, "GB": 10**9, "TB": 10**12, "GB/s": 10**9, "TB/s": 10**12},
    **{"MiB": 2**20, "TiB": 2**40, "GiB/s": 2**30, "TiB/s": 2**40, "Gbit/s": 10**9},
    **{"kW": 10**3, "ms": Decimal("1e-3"), "microseconds": Decimal("1e-6")},
}

ID = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*\.[a-z0-9]+(?:[._-][a-z0-9]+)*")
DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")


@dataclass(frozen=True, repr=False)
class Figure:
    """One published number or interval, as its source prints it.

    low, high: the ends of the interval in units of `unit` times `scale`; equal for a single number.
        `inf` as `high` reads "more than low".
    scale: 1, or what the first word of the unit stands for ("billion parameters" and "GB" have 10**9).
    counts: what is counted, and under which convention.
    """

    id: str
    low: Decimal
    high: Decimal
    unit: str
    counts: str
    date: str
    source: str
    locator: str
    standing: str
    quote: str = ""
    note: str = ""
    reason: str = ""

    @property
    def scale(self) -> int | Decimal:
        return SCALES.get(self.unit.split(" ")[0], 1)

    @property
    def is_interval(self) -> bool:
        return self.low != self.high

    @property
    def value(self) -> float:
        """The single number in base units (671 billion parameters is 671e9)."""
        if self.is_interval:
            raise ValueError(
                f"{self.id}: value: expected a single number, got the interval {self}; use .interval"
            )
        return self.interval[0]

    @property
    def interval(self) -> tuple[float, float]:
        """Both ends in base units."""
        return tuple(float(end * self.scale) for end in (self.low, self.high))

    @property
    def rounding(self) -> float:
        """Half of the last printed digit, in base units: a derived number this close is the published one."""
        last_digit = max(
            end.as_tuple().exponent for end in (self.low, self.high) if end.is_finite()
        )
        return 0.5 * 10.0**last_digit * float(self.scale)

    @property
    def number(self) -> str:
        """The number as printed, without its unit: `671`, `85 to 90`, `more than 500`."""
        low, high = (f"{end:,}" if end.is_finite() else "" for end in (self.low, self.high))
        if not self.is_interval:
            return low
        if not high:
            return f"more than {low}"
        if not low:
            return f"less than {high}"
        return f"{low} to {high}"

    def __repr__(self) -> str:
        return f"<{self.id}: {self}>"

    def __str__(self) -> str:
        text = f"{self.number} {self.unit}".strip()
        if self.standing == "reported but not seen":
            text += " (reported, not seen by us)"
        if self.standing == "assumption":
            text += " (assumed)"
        return text


def _read_number(identifier: str, value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"{identifier}: value: expected a number, got {value!r}")
    number = Decimal(value)
    if number.is_nan():
        raise ValueError(f"{identifier}: value: expected a number, got nan")
    return number


def read_figure(identifier: str, entry: object) -> Figure:
    """Validate one ledger table. Raises ValueError naming the id and the field."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{identifier}: expected a table, got {entry!r}")
    if not ID.fullmatch(identifier):
        raise ValueError(
            f"{identifier}: id: expected lower-case words joined by dots, such as v3.total_pub"
        )
    texts = ("unit", "counts", "date", "source", "locator", "standing", "quote", "note", "reason")
    unknown = sorted(set(entry) - {"value", *texts})
    if unknown:
        raise ValueError(
            f"{identifier}: {unknown[0]}: unknown field; expected value, {', '.join(texts)}"
        )
    for field in ("value", "unit", "counts", "date", "source", "locator", "standing"):
        if field not in entry:
            raise ValueError(f"{identifier}: {field}: missing")
    for field in texts:
        if not isinstance(entry.get(field, ""), str):
            raise ValueError(f"{identifier}: {field}: expected text, got {entry[field]!r}")
    for field in ("counts", "source"):
        if not entry[field].strip():
            raise ValueError(f"{identifier}: {field}: expected text, got an empty string")

    value = entry["value"]
    ends = value if isinstance(value, list) else [value, value]
    if len(ends) != 2:
        raise ValueError(f"{identifier}: value: expected a number or [low, high], got {value!r}")
    low, high = (_read_number(identifier, end) for end in ends)
    if low > high:
        raise ValueError(f"{identifier}: value: expected low <= high, got [{low}, {high}]")
    if not low.is_finite() and not high.is_finite():
        raise ValueError(f"{identifier}: value: expected at least one finite end, got {value!r}")

    if not DATE.fullmatch(entry["date"]):
        raise ValueError(
            f"{identifier}: date: expected YYYY, YYYY-MM or YYYY-MM-DD, got {entry['date']!r}"
        )
    if entry["standing"] not in STANDINGS:
        raise ValueError(
            f"{identifier}: standing: expected one of {', '.join(STANDINGS)}; got {entry['standing']!r}"
        )
    if entry["standing"] == "assumption" and not (entry.get("reason") and low != high):
        raise ValueError(
            f"{identifier}: reason: an assumption needs a reason and a range [low, high]"
        )
    return Figure(
        id=identifier,
        low=low,
        high=high,
        **{field: entry[field] for field in texts if field in entry},
    )


def read_ledger(text: str) -> dict[str, Figure]:
    """Parse and validate a ledger given as TOML text: id -> Figure, in the order of the file."""
    try:
        tables = tomllib.loads(text, parse_float=Decimal)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"ledger: not valid TOML: {error}") from None
    return {identifier: read_figure(identifier, entry) for identifier, entry in tables.items()}


@cache
def ledger() -> Mapping[str, Figure]:
    """The book's own ledger."""
    return read_ledger(LEDGER_PATH.read_text(encoding="utf-8"))


def fact(identifier: str) -> Figure:
    """The ledger's entry of that id. Raises ValueError for an id that is not in the ledger."""
    try:
        return ledger()[identifier]
    except KeyError:
        raise ValueError(f"{identifier}: no such figure in the ledger") from None


@dataclass(frozen=True)
class Comparison:
    """A derived number beside a published one, both in base units.

    why: the reason for a difference, where it is known and computed.
    lead: a reading that would fit, found by looking for one; the difference stays unexplained.
    circular: the published number was an input of the derived one.
    same_source: all inputs stand in the document that prints the number, so that only its arithmetic is tested.
    """

    figure: Figure
    derived: float
    why: str = ""
    circular: bool = False
    lead: str = ""
    same_source: bool = False

    @property
    def difference(self) -> float:
        """(derived - published) / published; 0 inside a published interval, relative to its nearer end outside."""
        low, high = self.figure.interval
        nearest = min(max(self.derived, low), high)
        if nearest == 0:
            return 0.0 if self.derived == 0 else math.inf
        return (self.derived - nearest) / abs(nearest)

    @property
    def status(self) -> str:
        """`exact`, `within rounding` (the derived number prints as the published one) or `off`."""
        low, high = self.figure.interval
        if low <= self.derived <= high:
            return "inside" if self.figure.is_interval else "exact"
        nearest = low if self.derived < low else high
        return (
            "within rounding"
            if abs(self.derived - nearest) <= self.figure.rounding * (1 + 1e-9)
            else "off"
        )

    @property
    def verdict(self) -> str:
        """The status, and for one that is off, whether the difference is explained."""
        if self.circular:
            return "an input"
        if self.status != "off":
            return self.status
        return "off, explained" if self.why else "off, unexplained"

    @property
    def derived_number(self) -> str:
        """The derived number in the published unit, to six digits or as many as were published."""
        return self.derived_to(6)

    def derived_to(self, digits: int, more: int = 0) -> str:
        """The derived number in the published unit, to so many digits, or as many as were published and some more."""
        ends = (self.figure.low, self.figure.high)
        published = max(len(end.as_tuple().digits) for end in ends if end.is_finite())
        number = self.derived / float(self.figure.scale)
        whole = len(f"{abs(number):.0f}")  # written out, but for numbers that nobody reads so
        digits = max(digits, published + more, whole if whole <= 15 else 0)
        return f"{number:,.{digits}g}"

    def __str__(self) -> str:
        return (
            f"published {self.figure}, derived {self.derived_number}, "
            f"difference {self.difference:+.2%} ({self.verdict})"
        )


def compare(
    identifier: str,
    derived: float,
    why: str = "",
    circular: bool = False,
    lead: str = "",
    same_source: bool = False,
) -> Comparison:
    """Lay a derived number (base units) beside the published figure of that id.

    why: a sentence that explains a difference; without one, a difference beyond rounding counts as unexplained.
    circular: True where the published figure itself went into the derivation, so that meeting it proves nothing.
    lead: a sentence on a reading that would fit but was found by looking for it; it explains nothing yet.
    same_source: True where every input stands in the document that prints the figure.
    """
    if not math.isfinite(derived):
        raise ValueError(f"{identifier}: derived: expected a finite number, got {derived!r}")
    for name, text in (("why", why), ("lead", lead)):
        if not isinstance(text, str):
            raise ValueError(f"{identifier}: {name}: expected text, got {text!r}")
    for name, value in (("circular", circular), ("same_source", same_source)):
        flag(f"{identifier}: {name}", value)
    return Comparison(fact(identifier), float(derived), why, circular, lead, same_source)
