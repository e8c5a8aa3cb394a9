"""Whether a value from a file has the shape that is expected of it: said once, so that no reader stumbles over another type.

A shape is a type (str, int, float, bool, dict, list; an int is a float, a bool is neither; object is anything), `range(a, b)`
for whole numbers from a to below b, [shape] for a list, {name: shape} for an object with these keys among others, `Each(shape)`
for an object of any keys, `Maybe(shape)` for a value that may be null or a key that may be missing, `IfThere(shape)` for a key
that may be missing but has no null, and `Id()` for text or a whole number.
"""

from typing import NamedTuple

from xstilts.base import UserError


class Each(NamedTuple):
    """The shape of an object's values, whatever their keys."""

    shape: object


class Maybe(NamedTuple):
    """The shape of what may be null, or not there."""

    shape: object


class IfThere(NamedTuple):
    """The shape of what may not be there, but is not null."""

    shape: object


class Id(NamedTuple):
    """The shape of an id: text, or a whole number, which its reader makes text."""


NAMES = {
    str: "text", int: "a whole number", float: "a number", bool: "true or false", dict: "an object", list: "a list",
    type(None): "null",
}  # fmt: skip


def check_shape(value, shape, where):
    """Raise UserError, `where` first, for a value of another shape."""
    if wrong := misfit(value, shape):
        raise UserError(f"{where}: {wrong}")


def misfit(value, shape, name=""):
    """The first thing about a value that does not fit its shape, in words; "" where all does."""
    if shape is object or type(value) is shape or (isinstance(shape, range) and type(value) is int and value in shape):
        return ""
    if isinstance(shape, Id):
        return "" if type(value) is int else misfit(value, str, name)
    if isinstance(shape, Maybe | IfThere):
        return "" if value is None and isinstance(shape, Maybe) else misfit(value, shape.shape, name)
    if isinstance(shape, list) and type(value) is list:
        return _first(misfit(each, shape[0], f"{name}[{place}]") for place, each in enumerate(value))
    if isinstance(shape, Each) and type(value) is dict:
        return _first(misfit(each, shape.shape, _inside(name, key)) for key, each in value.items())
    if isinstance(shape, dict) and type(value) is dict:
        return _first(_key_misfit(value, key, each, name) for key, each in shape.items())
    if shape is float and type(value) is int:
        return ""
    return f"{_quoted(name)} is {_shown(value)}, not {_named(shape)}"


def _key_misfit(value, key, shape, name):
    if key in value:
        return misfit(value[key], shape, _inside(name, key))
    return "" if isinstance(shape, Maybe | IfThere) else f"{_quoted(name)} has no '{key}'" if name else f"no '{key}'"


def _first(found):
    return next(filter(None, found), "")


def _inside(name, key):
    return f"{name}.{key:.40}" if name else f"{key:.40}"


def _quoted(name):
    return f"'{name}'" if name else "the content"


def _shown(value):
    return f"{value!r:.40}" if type(value) in (int, float, bool) else NAMES.get(type(value), type(value).__name__)


def _named(shape):
    if isinstance(shape, range):
        return f"a whole number from {shape.start} to {shape.stop - 1}"
    return NAMES[shape] if isinstance(shape, type) else NAMES[list if isinstance(shape, list) else dict]


def shape_of(feature):
    """The shape of the values of a column, or of a row, that is declared as a feature of `datasets`."""
    if isinstance(feature, dict):
        return {name: shape_of(each) for name, each in feature.items()}
    if isinstance(feature, list):
        return [shape_of(feature[0])]
    if hasattr(feature, "names"):
        return range(-1, len(feature.names))  # -1: no label
    if hasattr(feature, "feature"):
        return [shape_of(feature.feature)]
    if feature.dtype.startswith("int"):
        bits = int(feature.dtype.removeprefix("int"))
        return range(-(2 ** (bits - 1)), 2 ** (bits - 1))
    return {"string": str, "bool": bool}.get(feature.dtype, float)
