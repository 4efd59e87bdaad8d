"""Which rows run through a model at once: every row once, within the budget, long ones without padding."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig

from crossdistill.ops import holds_mask, micro_batches, split_further
from crossdistill.ops.micro_batching import LONGEST_PADDED

LENGTHS = st.lists(st.integers(1, 3 * LONGEST_PADDED), max_size=12)


@given(LENGTHS, st.integers(1, 4 * LONGEST_PADDED), st.integers(1, 5), st.booleans())
def test_rows_of_similar_length_within_the_budget(lengths, budget, max_rows, has_mask):
    batches = micro_batches(lengths, budget, max_rows, has_mask)
    rows = [row for batch in batches for row in batch]
    assert sorted(rows) == list(range(len(lengths)))
    assert [lengths[row] for row in rows] == sorted(lengths, reverse=True)
    for batch in batches:
        longest = lengths[batch[0]]
        assert 1 <= len(batch) <= max_rows
        assert len(batch) == 1 or longest * len(batch) <= budget
        assert not has_mask or longest <= LONGEST_PADDED or {lengths[row] for row in batch} == {longest}
    for batch, after in pairwise(batches):  # none could take one row more
        longest, first = lengths[batch[0]], lengths[after[0]]
        fits = len(batch) < max_rows and longest * (len(batch) + 1) <= budget
        assert not fits or (has_mask and longest > LONGEST_PADDED and first != longest)


@given(LENGTHS, st.integers(0, 15))
def test_as_many_as_another_process_has(lengths, count):
    batches = micro_batches(lengths)
    found = split_further(batches, lengths, count)
    assert len(found) == max(len(batches), min(count, len(lengths)))
    assert [row for batch in found for row in batch] == [row for batch in batches for row in batch]
    assert all(found)


@pytest.mark.parametrize("attention", ["sdpa", "eager", None])
def test_attention_that_holds_the_mask(attention):
    assert holds_mask(_model(attention))


@pytest.mark.parametrize("attention", ["flash_attention_2", "kernels-community/flash-attn3", "flex_attention"])
def test_attention_that_does_not(attention):
    assert not holds_mask(_model(attention))


def _model(attention):
    return SimpleNamespace(config=LlamaConfig(attn_implementation=attention))
