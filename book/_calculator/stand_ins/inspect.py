"""Stands in for `inspect` in the page: `dataclasses` asks it for texts of documentation, which the page does not show."""


def signature(function):
    raise ValueError("no signatures in the page")


def unwrap(function):
    return function
