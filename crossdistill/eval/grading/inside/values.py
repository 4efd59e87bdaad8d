"""Values that cross from one sandbox into another, as JSON data.

What arrives is made of Python's own types alone: an object whose ``__eq__`` is always true stays where it is, and the
other side gets a reference to it.
"""

from collections import deque
from collections.abc import Callable, ItemsView, Iterator, KeysView, ValuesView
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

LONGEST_ITERATOR = 100_000
_EXACT_IN_JSON = 1 << 53
_SEQUENCES: dict[str, Any] = {"tuple": tuple, "set": set, "frozenset": frozenset, "deque": deque}
_KINDS: dict[str, Any] = {
    "bytes": bytes,
    "bytearray": bytearray,
    "Fraction": Fraction,
    "Decimal": Decimal,
    "complex": complex,
    "range": range,
}
_WRITTEN: dict[str, Callable[[Any], Any]] = {
    "bytes": bytes.hex,
    "bytearray": bytearray.hex,
    "Fraction": str,
    "Decimal": str,
    "complex": lambda value: [value.real, value.imag],
    "range": lambda value: [value.start, value.stop, value.step],
}


def encode(value: object, refer: Callable[[object], int]) -> Any:
    """A value as JSON data.

    Args:
        value: what a type of the standard library derives from counts as that type; an iterator is read to its end.
        refer: gives a number to anything else.

    Raises:
        ValueError: an iterator does not end soon.

    Example:
        >>> encode((1, {2: "a"}), id)
        {'tuple': [1, {'dict': [[2, 'a']]}]}
    """
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):
        return int(value) if abs(value) < _EXACT_IN_JSON else {"int": hex(value)}
    if isinstance(value, list):
        return [encode(item, refer) for item in value]
    if isinstance(value, dict):
        return {"dict": [[encode(key, refer), encode(item, refer)] for key, item in value.items()]}
    return _encode_rarer(value, refer)


def _encode_rarer(value: Any, refer: Callable[[object], int]) -> Any:
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [encode(item, refer) for item in value]}
    for name, write in _WRITTEN.items():
        if isinstance(value, _KINDS[name]):
            return {name: write(value)}
    if isinstance(value, KeysView | ItemsView):
        return encode(set(value), refer)
    if isinstance(value, ValuesView):
        return encode(list(value), refer)
    if isinstance(value, Iterator):
        return {"iterator": encode(_all_of(value), refer)}
    is_array = type(value).__module__ == "numpy" and hasattr(value, "tolist")
    return encode(value.tolist(), refer) if is_array else {"reference": refer(value)}


def decode(data: Any, resolve: Callable[[int], object]) -> Any:
    """The value of JSON data.

    Args:
        data: as :func:`encode` writes it.
        resolve: gives what stands for a reference.

    Raises:
        ValueError, TypeError, KeyError: it is not such data.

    Example:
        >>> decode({"tuple": [1, {"dict": [[2, "a"]]}]}, id)
        (1, {2: 'a'})
    """
    if isinstance(data, list):
        return [decode(item, resolve) for item in data]
    if not isinstance(data, dict):
        return data
    ((name, content),) = data.items()
    if name in _SEQUENCES:
        return _SEQUENCES[name](decode(content, resolve))
    others: dict[str, Callable[[Any], object]] = {
        "int": lambda text: int(text, 16),
        "dict": lambda pairs: {decode(key, resolve): decode(item, resolve) for key, item in pairs},
        "bytes": bytes.fromhex,
        "bytearray": bytearray.fromhex,
        "Fraction": Fraction,
        "Decimal": Decimal,
        "complex": lambda parts: complex(*parts),
        "range": lambda parts: range(*parts),
        "iterator": lambda items: iter(decode(items, resolve)),
        "reference": resolve,
    }
    return others[name](content)


def _all_of(values: Iterator[Any]) -> list[Any]:
    found = list(islice(values, LONGEST_ITERATOR + 1))
    if len(found) > LONGEST_ITERATOR:
        raise ValueError(f"an iterator gives more than {LONGEST_ITERATOR} values")
    return found
