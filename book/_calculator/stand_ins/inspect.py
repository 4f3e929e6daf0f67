"""Stands in for `inspect` in the page: `dataclasses` asks it for a signature to write documentation with."""


def signature(function):
    raise ValueError("no signatures in the page")


def unwrap(function):
    return function
