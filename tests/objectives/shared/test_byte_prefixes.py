"""Tables of byte prefixes, and what a teacher gives to ranges of them, against a look at every token."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill.objectives import VocabPair
from crossdistill.objectives.dpca import DPCA
from crossdistill.objectives.shared.bytewise.byte_prefixes import BytePrefixes, duplicates, merge_columns, prefixes_of
from crossdistill.objectives.shared.bytewise.prefix_probabilities import (
    PrefixQueries,
    dense_prefix_logprobs,
    topk_prefix_logprobs,
)
from crossdistill.objectives.shared.bytewise.targets import FirstTargets, InnerTargets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.ops import HiddenStates, LMHead, TopLogprobs
from tests.objectives.byte_prefixes import LETTERS, one_chunk, states_of
from tests.objectives.cases import STUDENT_PIECES, TEACHER_PIECES, case, pair, vocab

PIECE = st.lists(st.sampled_from([b"a", b"b", b"\xfe", b"\xff"]), max_size=4).map(b"".join)
PIECES = st.lists(PIECE, min_size=2, max_size=12).map(tuple)


def begins_with(pieces: tuple[bytes, ...], stops: tuple[int, ...], prefix: bytes) -> set[int]:
    return {k for k, piece in enumerate(pieces) if piece and k not in stops and piece.startswith(prefix)}


def column(pieces: tuple[bytes, ...], stops: tuple[int, ...], data: bytes) -> int:
    """The first id of the longest piece that `data` begins with; as many as there are ids for none."""
    fitting = [k for k, piece in enumerate(pieces) if piece and k not in stops and data.startswith(piece)]
    return max(fitting, key=lambda k: (len(pieces[k]), -k), default=len(pieces))


@given(student=PIECES, teacher=PIECES, prefix=PIECE, taught=st.booleans())
def test_tables_equal_a_look_at_every_token(student, teacher, prefix, taught):
    stops = ((1,), (0, 1)) if taught else ((), ())
    tables = BytePrefixes(VocabPair(vocab(student), vocab(teacher), *stops))
    low, high = tables.within(prefix)
    ids = tables.order[low:high]
    assert set(ids.tolist()) == begins_with(teacher, stops[1], prefix)
    assert len(ids) == high - low
    assert [tables.rank[k] for k in ids] == list(range(low, high))
    expected = [column(student, stops[0], teacher[k][len(prefix) :]) for k in ids]
    assert tables.columns(prefix).tolist() == expected
    assert tables.columns(prefix) is tables.columns(prefix)
    whole = [column(student, stops[0], piece) for piece in teacher]
    for stop in stops[1]:
        whole[stop] = stops[0][0]
    assert tables.all_columns().tolist() == whole
    longer = {(column(student, stops[0], prefix[:k]), k) for k in range(2, len(prefix) + 1)}
    assert tables.longer(prefix, 1) == sorted(
        (c for c in longer if c[0] < len(student) and len(student[c[0]]) == c[1]), key=lambda item: item[1]
    )


def test_ids_with_the_same_bytes_share_a_column():
    """Token 1 and 7 are both `a`; the stops are 0, 9 and 10."""
    tables = BytePrefixes(VocabPair(vocab(STUDENT_PIECES), vocab(TEACHER_PIECES), (0, 9, 10), (1, 7)))
    log_probs = torch.log_softmax(torch.randn(3, len(STUDENT_PIECES), dtype=torch.float64), -1)
    hidden = duplicates(tables.groups, len(STUDENT_PIECES))
    masses = merge_columns(log_probs, tables.groups).exp().masked_fill(hidden, 0.0)
    probs = log_probs.exp()
    torch.testing.assert_close(masses[:, 1], probs[:, 1] + probs[:, 7])
    torch.testing.assert_close(masses[:, 0], probs[:, 0] + probs[:, 9] + probs[:, 10])
    assert hidden.nonzero()[:, 0].tolist() == [7, 9, 10]
    torch.testing.assert_close(masses[:, 2:7], probs[:, 2:7])
    torch.testing.assert_close(masses.sum(-1), torch.ones(3, dtype=torch.float64))


def test_the_tables_of_a_pair_are_made_once_and_let_go():
    one = pair()
    assert prefixes_of(one) is prefixes_of(one)
    assert prefixes_of(one) is not prefixes_of(pair())


PREFIXES = [b"a", b"", b"ab", b"b", b"zz", b" "]


@pytest.mark.parametrize("tile_elements", [2**24, 40, 1])
def test_prefix_probabilities_equal_sums_over_tokens(tile_elements):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, len(TEACHER_PIECES), generator=generator, dtype=torch.float64) * 3
    logits[2] = -torch.inf
    logits[2, 1] = 0.0  # nothing but a stop
    states = HiddenStates(
        torch.arange(4)[:, None].eq(torch.arange(4)).double(), LMHead(logits.nan_to_num(neginf=-1e30).T)
    )
    rows = np.array([3, 0, 0, 2, 1, 3])
    tables = prefixes_of(pair())
    ours = dense_prefix_logprobs(
        PrefixQueries.of(rows, PREFIXES, tables), tables, states, 0.7, tile_elements=tile_elements
    ).exp()
    probs = torch.softmax(logits / 0.7, -1)
    wanted = [
        probs[row, list(begins_with(TEACHER_PIECES, (1, 7), prefix))].sum()
        for row, prefix in zip(rows, PREFIXES, strict=True)
    ]
    torch.testing.assert_close(ours, torch.stack(wanted))
    assert ours[[3, 4]].tolist() == [0, 0]


def test_prefix_probabilities_of_no_queries():
    tables, states = prefixes_of(pair()), HiddenStates(torch.zeros(2, 3), LMHead(torch.zeros(len(TEACHER_PIECES), 3)))
    assert dense_prefix_logprobs(PrefixQueries.of(np.zeros(0, dtype=int), [], tables), tables, states).shape == (0,)


def test_the_realised_token_is_counted_once():
    """Tokens 2, 5 and 6 are aa, ab and aab."""
    tables = prefixes_of(pair())
    queries = PrefixQueries.of(np.array([0, 0, 0]), [b"a", b"a", b"ab"], tables)
    topk = TopLogprobs(torch.tensor([[5, 0, 2]]), torch.tensor([[0.5, 0.3, 0.1]]).log())
    realised, logprobs = torch.tensor([5, 6, 5]), torch.tensor([0.5, 0.05, 0.5]).log()
    ours = topk_prefix_logprobs(queries, tables, topk, realised, logprobs).exp()
    torch.testing.assert_close(ours, torch.tensor([0.6, 0.65, 0.5]))


def test_tiles_are_smaller_if_many_tokens_begin_with_the_bytes_read():
    """Their sums take memory too, and as much per logit however many there are."""
    tables, device = prefixes_of(pair()), torch.device("cpu")
    whole = FirstTargets(tables, device).tile_elements(100)
    few, many = (InnerTargets(tables, [prefix], device).tile_elements(100) for prefix in (b"abb", b"a"))
    assert InnerTargets(tables, [], device).tile_elements(100) == whole
    assert whole > few > many > 0


def test_offsets_say_where_student_tokens_begin():
    batch = stopped_batch()
    token_offsets = TokenOffsets.of(batch)
    assert token_offsets.data == b"abab\x00"
    assert token_offsets.rows.tolist() == [0, 0, 1, 2, 3]
    assert token_offsets.offsets.tolist() == [0, 1, 0, 0, 0]
    assert token_offsets.first.tolist() == [0, 2, 3, 4]
    assert token_offsets.inner.tolist() == [1]
    assert token_offsets.prefixes(np.array([1, 2])) == [b"a", b""]
    assert token_offsets.is_verbatim.all()
    other = replace(batch, teacher=replace(batch.teacher, ids=torch.tensor([3, 1, 3, 0])))
    assert TokenOffsets.of(other).is_verbatim.tolist() == [False, True, True, True]
    assert TokenOffsets.of(other).inner.tolist() == []


def test_a_chunk_begins_with_a_token_of_no_bytes_too():
    """A normaliser may put one before the one that covers the text: of its chunk's insides nothing is known."""
    batch = stopped_batch()
    tokens = replace(batch.teacher, ids=torch.tensor([0, 2, 1, 3, 0]), ends=torch.tensor([0, 2, 3, 4, 5]))
    splits = batch.alignment.teacher_splits + np.array([0, 1, 1, 1, 1])
    alignment = replace(batch.alignment, teacher_splits=splits)
    token_offsets = TokenOffsets.of(replace(batch, teacher=tokens, alignment=alignment))
    assert token_offsets.rows.tolist() == [0, 1, 2, 3, 4]
    assert token_offsets.offsets.tolist() == [0, 1, 0, 0, 0]
    assert token_offsets.is_verbatim.tolist() == [False, True, True, True]


def stopped_batch():
    """`ab` in one teacher token and in two, and a stop."""
    states = states_of([[0.2, 0.5, 0.3]] * 2, [[0.1, 0.2, 0.4, 0.1, 0.2]])
    first = one_chunk(LETTERS, [[1, 2], [2]], states).batch
    one = states_of([[0.2, 0.5, 0.3]], [[0.1, 0.2, 0.4, 0.1, 0.2]])
    others = [one_chunk(LETTERS, [[k], [j]], one).batch for k, j in ((1, 1), (2, 3), (1, 1))]
    stop = replace(
        others[2],
        is_stop=np.array([True]),
        student=replace(others[2].student, ids=torch.tensor([0])),
        teacher=replace(others[2].teacher, ids=torch.tensor([0])),
    )
    return type(first).concatenate([first, *others[:2], stop])


def test_offsets_of_nothing():
    empty = case_offsets(lengths=(0,))
    assert (len(empty.starts), len(empty.inner), len(empty.first), empty.data) == (0, 0, 0, b"")


def case_offsets(**options) -> TokenOffsets:
    return TokenOffsets.of(case(DPCA(credit="marginal"), stop_unit=False, **options).batch())
