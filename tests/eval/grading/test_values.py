"""Values cross as they are; what is not of Python's own types stays."""

import json
from collections import Counter, OrderedDict, deque, namedtuple
from decimal import Decimal
from fractions import Fraction
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.eval.grading.inside.values import decode, encode

KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.binary(), st.floats(allow_nan=False))
VALUES = st.recursive(
    st.one_of(KEYS, st.complex_numbers(allow_nan=False), st.fractions(), st.decimals(allow_nan=False)),
    lambda inner: st.one_of(
        st.lists(inner), st.lists(inner).map(tuple), st.lists(inner).map(deque), st.dictionaries(KEYS, inner),
        st.sets(KEYS), st.frozensets(KEYS),
    ),
    max_leaves=8,
)  # fmt: skip


def crossed(value: object) -> object:
    references: list[object] = []

    def refer(held: object) -> int:
        references.append(held)
        return len(references) - 1

    return decode(json.loads(json.dumps(encode(value, refer))), lambda number: ("reference", number))


@given(VALUES)
def test_values_of_pythons_own_types_cross_unchanged(value: object) -> None:
    there = crossed(value)
    assert type(there) is type(value)
    assert there == value


def test_subclasses_cross_as_their_base() -> None:
    class AlwaysEqual(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    assert crossed(AlwaysEqual(3)) != 4
    assert type(crossed(AlwaysEqual(1 << 60))) is int
    assert crossed(namedtuple("Point", "x y")(1, 2)) == (1, 2)
    assert crossed(Counter("aab")) == {"a": 2, "b": 1}
    assert crossed(OrderedDict(a=1)) == {"a": 1}


def test_views_iterators_and_arrays_cross_as_their_content() -> None:
    table = {1: "a", 2: "b"}
    assert crossed(table.keys()) == {1, 2}
    assert crossed(table.values()) == ["a", "b"]
    assert list(crossed(character for character in "ab")) == ["a", "b"]  # type: ignore[call-overload]
    assert crossed(np.arange(3)) == [0, 1, 2]
    assert crossed(np.int64(3)) == 3
    assert crossed(range(2, 9, 3)) == range(2, 9, 3)
    assert crossed([Fraction(1, 3), Decimal("1.50")]) == [Fraction(1, 3), Decimal("1.50")]


def test_other_objects_stay() -> None:
    assert crossed([object(), print]) == [("reference", 0), ("reference", 1)]


def test_an_iterator_without_an_end_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 100000 values"):
        crossed(count())
