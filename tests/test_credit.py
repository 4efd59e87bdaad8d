"""Credit, compared with its definition, and the invariants of every method."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import Alignment, align
from crossdistill.credit import EPSILON_NATS, SHARES, assign_credit, chunk_sums
from tests.oracles import credit as oracle
from tests.properties.strategies import two_tokenisations

# sums of these are rarely epsilon itself, where rounding would decide the case
SPREAD = [0.0, -1e-9, -1.3e-7, -1e-3, -0.5, -1.0, -3.0, -20.0]


@st.composite
def chunked(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, Alignment]:
    """Log-probabilities of a response on both sides, from certain to very surprising tokens."""
    _, student_ends, teacher_ends = draw(two_tokenisations())
    value = st.sampled_from(SPREAD) | st.floats(-30, 0)
    sides = [draw(st.lists(value, min_size=len(e), max_size=len(e))) for e in (student_ends, teacher_ends)]
    student, teacher = (torch.tensor(side, dtype=torch.float64) for side in sides)
    return student, teacher, align(student_ends, teacher_ends)


def splits(*sizes: int) -> list[int]:
    return np.cumsum([0, *sizes]).tolist()


def alignment(student_sizes: list[int], teacher_sizes: list[int]) -> Alignment:
    return Alignment(splits(*student_sizes), splits(*teacher_sizes), splits(*(9 for _ in student_sizes)))


@pytest.mark.parametrize("method", SHARES)
@given(case=chunked())
def test_equals_the_definition(method, case):
    student, teacher, chunks = case
    expected = oracle.credit(student, teacher, chunks.student_splits, chunks.teacher_splits, method)
    torch.testing.assert_close(
        assign_credit(student, teacher, chunks, method),
        torch.tensor(expected, dtype=torch.float64),
        rtol=1e-9,
        atol=1e-9,
    )


def test_the_oracle_and_the_implementation_have_the_same_epsilon():
    assert oracle.EPSILON_NATS == EPSILON_NATS


@pytest.mark.parametrize("method", SHARES)
@given(case=chunked())
def test_a_chunks_advantages_sum_to_its_log_ratio(method, case):
    student, teacher, chunks = case
    advantages = assign_credit(student, teacher, chunks, method)
    for c in range(chunks.num_chunks):
        own = slice(chunks.student_splits[c], chunks.student_splits[c + 1])
        other = slice(chunks.teacher_splits[c], chunks.teacher_splits[c + 1])
        gap = sum(teacher[other].tolist()) - sum(student[own].tolist())
        assert sum(advantages[own].tolist()) == pytest.approx(gap, abs=1e-9)


@pytest.mark.parametrize("method", SHARES)
@given(values=st.lists(st.tuples(st.floats(-30, 0), st.floats(-30, 0)), max_size=10))
def test_one_to_one_chunks_give_the_difference_of_log_probabilities(method, values):
    student, teacher = (torch.tensor([pair[side] for pair in values], dtype=torch.float64) for side in (0, 1))
    ones = [1] * len(values)
    torch.testing.assert_close(assign_credit(student, teacher, alignment(ones, ones), method), teacher - student)


@pytest.mark.parametrize("method", SHARES)
@given(case=chunked())
def test_a_teacher_equal_to_the_student_gives_exactly_zero(method, case):
    student, _, chunks = case
    same = Alignment(chunks.student_splits, chunks.student_splits, chunks.byte_splits)
    assert assign_credit(student, student, same, method).eq(0).all()


@given(case=chunked())
def test_shares_of_the_semantic_prior_never_change_sign_within_a_chunk(case):
    student, teacher, chunks = case
    advantages = assign_credit(student, teacher, chunks)
    gaps = chunk_sums(teacher, torch.tensor(chunks.teacher_splits.tolist())) - chunk_sums(
        student, torch.tensor(chunks.student_splits.tolist())
    )
    for c in range(chunks.num_chunks):
        own = advantages[chunks.student_splits[c] : chunks.student_splits[c + 1]]
        assert (own * gaps[c] >= 0).all()
        assert (own.abs() <= gaps[c].abs() + 1e-12).all()


def test_a_case_worked_out_by_hand():
    """Like the paper's section 5.4: `120` is one token here and three there, `...]` is two tokens here and one there.

    Chunk `120`: L_S = -1.5, L_T = -0.2 - 0.3 - 0.1 = -0.6, so A = +0.9. Chunk `...]`: the teacher's budget of -1 is
    shared by -3 and -1 as -0.75 and -0.25, so A = +2.25 and +0.75. Chunk `=` is 1:1: -2 - (-0.5) = -1.5.
    """
    student, teacher = torch.tensor([-1.5, -3.0, -1.0, -0.5]), torch.tensor([-0.2, -0.3, -0.1, -1.0, -2.0])
    chunks = alignment([1, 2, 1], [3, 1, 1])
    for method, expected in {
        "semantic_prior": [0.9, 2.25, 0.75, -1.5],
        "uniform": [0.9, 1.5, 1.5, -1.5],
        "first": [0.9, 3.0, 0.0, -1.5],
        "last": [0.9, 0.0, 3.0, -1.5],
    }.items():
        torch.testing.assert_close(assign_credit(student, teacher, chunks, method), torch.tensor(expected))
    torch.testing.assert_close(assign_credit(student, teacher, chunks), torch.tensor([0.9, 2.25, 0.75, -1.5]))


@pytest.mark.parametrize("student", [[0.0, 0.0], [-4e-7, -1e-9], [-1e-30, 0.0]])
def test_a_chunk_that_is_certain_for_the_student_is_shared_equally(student):
    values = torch.tensor(student)
    advantages = assign_credit(values, torch.tensor([-3.0]), alignment([2], [1]))
    torch.testing.assert_close(advantages, torch.tensor([-1.5, -1.5]), rtol=1e-5, atol=0)


def test_just_above_epsilon_the_shares_are_the_students():
    advantages = assign_credit(torch.tensor([-3e-6, -1e-6]), torch.tensor([-4.0]), alignment([2], [1]))
    torch.testing.assert_close(advantages, torch.tensor([-3.0, -1.0]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("method", SHARES)
def test_empty(method):
    advantages = assign_credit(torch.zeros(0), torch.zeros(0), alignment([], []), method)
    assert advantages.shape == (0,)
    assert advantages.dtype == torch.float32


@pytest.mark.parametrize("method", SHARES)
@given(batch=st.lists(chunked(), min_size=1, max_size=5))
def test_a_batch_is_its_responses_one_by_one(method, batch):
    chunks = Alignment.concatenate([case[2] for case in batch])
    together = assign_credit(torch.cat([c[0] for c in batch]), torch.cat([c[1] for c in batch]), chunks, method)
    torch.testing.assert_close(together, torch.cat([assign_credit(*case, method) for case in batch]))


def test_the_result_carries_no_gradient():
    student = torch.tensor([-1.0, -2.0], requires_grad=True)
    assert not assign_credit(student, torch.tensor([-1.0]), alignment([2], [1])).requires_grad


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (torch.zeros(3), torch.zeros(1), r"the alignment has 2 student tokens, not \(3,\)"),
        (torch.zeros(2), torch.zeros(2), r"the alignment has 1 teacher tokens, not \(2,\)"),
        (torch.zeros(0), torch.zeros(1), r"the alignment has 2 student tokens, not \(0,\)"),
        (torch.zeros(1, 2), torch.zeros(1), r"the alignment has 2 student tokens, not \(1, 2\)"),
    ],
)
def test_log_probabilities_of_another_length_are_refused(student, teacher, message):
    with pytest.raises(ValueError, match=message):
        assign_credit(student, teacher, alignment([2], [1]))


def test_an_unknown_method_is_refused():
    message = "credit 'prior' is not a share of a chunk's log-ratio: choose one of semantic_prior, uniform, first, last"
    with pytest.raises(ValueError, match=message):
        assign_credit(torch.zeros(1), torch.zeros(1), alignment([1], [1]), "prior")
