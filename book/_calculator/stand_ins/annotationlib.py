"""Stands in for `annotationlib` in the page: what `dataclasses` asks of it. Brython's own takes seconds to load."""


class Format:
    VALUE, FORWARDREF, STRING = 1, 3, 4


def get_annotations(cls, format=Format.VALUE):
    return cls.__annotations__


def type_repr(value):
    return str(value)
