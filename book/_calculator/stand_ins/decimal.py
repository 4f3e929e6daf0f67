"""Stands in for `decimal` in the page: what facts.py asks of a number that keeps its printed digits.

Brython's own takes seconds to load.
"""


class Decimal:
    """A number as a text prints it: `digits` times ten to the power of `exponent`, or one that is not finite."""

    def __init__(self, value):
        self.text = value.text if isinstance(value, Decimal) else str(value)
        mantissa, _, exponent = self.text.lower().partition("e")
        whole, _, fraction = mantissa.partition(".")
        self.finite = whole.lstrip("+-").isdigit()
        if self.finite:
            self.digits = int(whole + fraction)
            self.exponent = int(exponent or 0) - len(fraction)

    def is_nan(self):
        return self.text.lower() == "nan"

    def is_finite(self):
        return self.finite

    def __float__(self):
        return float(f"{self.digits}e{self.exponent}") if self.finite else float(self.text)

    def __mul__(self, other):
        if not self.finite:
            return self
        other = Decimal(other)
        return Decimal(f"{self.digits * other.digits}e{self.exponent + other.exponent}")

    def __eq__(self, other):
        return float(self) == float(other)

    def __lt__(self, other):
        return float(self) < float(other)

    def __gt__(self, other):
        return float(self) > float(other)
