"""The reference teacher: what it says, too, is no merit of the teacher."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab, InputError
from crossdistill.align import DropReason
from crossdistill.chat import ensure_template, split_response
from crossdistill.distill import Distiller, Routing, ScoredBatch
from crossdistill.distill.aligned_batch import with_chunks
from crossdistill.objectives import AlignedBatch, get
from crossdistill.ops import LMHead
from crossdistill.teachers import TeacherRequest, TeacherScore
from tests.distill.fake_teacher import PROMPT, Answer, FakeTeacher, score_of, student_logprobs, too_long
from tests.distill.test_aligned_batch import assert_same_batch
from tests.oracles import reference as oracle
from tests.tokenizers_in_process import NAMES
from tests.tokens.test_vocab import without_entries

UNBOUNDED = get("dpca", max_advantage=1e6)


def weaker(request: TeacherRequest) -> Answer:
    """Log-probabilities of another model of the same tokenizer."""
    score = score_of(request)
    place = np.arange(len(score.logprobs))
    return TeacherScore(score.logprobs - (place % 5).astype(np.float32) / 4, -1.5 if request.stopped else None)


def score(
    tokenizer: Any, teachers: Any, completions: list[list[int]], objective: Any = UNBOUNDED, **options: Any
) -> ScoredBatch:
    distiller = Distiller(tokenizer, teachers, objective, **options)
    old = [student_logprobs(ids) for ids in completions]
    return distiller.score([PROMPT] * len(completions), completions, old)


def values_of(item: Any) -> list[float | None]:
    return [float(value) if kept else None for value, kept in zip(item.advantages, item.mask, strict=True)]


def chunks_of(item: Any) -> list[list[int]]:
    """Positions of the student tokens of each unit that the item's own teacher supervises."""
    positions, splits = item.mask.nonzero()[0].tolist(), item.batch.alignment.student_splits.tolist()
    return [positions[first:last] for first, last in pairwise(splits)]


def assert_as_the_oracle(both: ScoredBatch, teacher: ScoredBatch, reference: ScoredBatch) -> None:
    for item, alone, other in zip(both.responses, teacher.responses, reference.responses, strict=True):
        expected = oracle.difference(values_of(alone), values_of(other), chunks_of(alone))
        assert item.mask.tolist() == [value is not None for value in expected]
        np.testing.assert_allclose(item.advantages, [value or 0.0 for value in expected], atol=2e-5)


@pytest.mark.parametrize("teacher_name", ["gemma", "qwen"])
@pytest.mark.parametrize("reference_name", NAMES)
def test_each_is_credited_by_its_own_alignment(sides, tokenizer, completions, teacher_name, reference_name):
    made = {name: lambda name=name: FakeTeacher(*sides[name]) for name in NAMES}
    alone = score(tokenizer, made[teacher_name](), completions)
    other = score(tokenizer, made[reference_name](), completions)
    both = score(tokenizer, {"teacher": made[teacher_name](), "reference": made[reference_name]()}, completions)
    assert_as_the_oracle(both, alone, other)
    assert {item.teacher_name for item in both.responses} == {"teacher"}
    assert [one.teacher_name for item in both.responses for one in item.others] == ["reference"] * 3
    assert both.coverage.as_dict() == alone.coverage.as_dict()  # all of these tokenizers spell every byte
    assert both.weight == alone.weight
    for item, one in zip(both.responses, alone.responses, strict=True):
        assert (item.gap_nats, item.num_teacher_tokens) == (one.gap_nats, one.num_teacher_tokens)


def test_with_one_tokenizer_a_token_has_its_share_of_their_log_ratio(sides, tokenizer, completions):
    teacher, reference = FakeTeacher(*sides["gemma"]), FakeTeacher(*sides["gemma"], [weaker] * 3)
    both = score(tokenizer, {"reference": reference, "teacher": teacher}, completions)
    for item in both.responses:
        (other,) = item.others
        chunks, text = item.alignment, item.aligned.student_positions
        expected = oracle.with_one_tokenizer(
            item.student_logprobs[text].astype(float).tolist(),
            item.teacher.logprobs.astype(float).tolist(),
            other.teacher.logprobs.astype(float).tolist(),
            chunks.student_splits.tolist(),
            chunks.teacher_splits.tolist(),
        )
        np.testing.assert_allclose(item.advantages[text], expected, rtol=1e-4, atol=2e-5)
        assert np.abs(expected).max() > 0.2
        assert item.advantages[-1] == pytest.approx(-0.75 + 1.5)  # the stop, of the two masses alone


def test_a_reference_that_is_the_teacher_leaves_nothing(sides, tokenizer, completions):
    teachers = {name: FakeTeacher(*sides["gemma"]) for name in ("teacher", "reference")}
    both = score(tokenizer, teachers, [*completions, []])
    assert both.loss_mask.sum() == sum(map(len, completions))
    assert not both.advantages.any()
    ids = torch.cat([torch.tensor(row) for row in completions])
    hidden = torch.zeros(len(ids), 4, requires_grad=True)
    distiller = Distiller(tokenizer, teachers)
    distiller.is_verified = True
    loss = distiller.loss(both, hidden, LMHead(torch.ones(len(distiller.vocab), 4)))
    loss.backward()
    assert loss.item() == 0
    assert not hidden.grad.any()


def test_what_is_bounded_is_the_difference(sides, tokenizer, completions):
    """Both teachers find a token improbable, the reference less so: bounded one by one, both would say the same."""

    def shifted(nats: float) -> Any:
        return lambda request: replace(score_of(request), logprobs=score_of(request).logprobs * 0 - nats)

    def both(objective: Any) -> ScoredBatch:
        teachers = {"teacher": (30.0), "reference": (25.0)}
        made = {name: FakeTeacher(*sides["gpt2"], [shifted(nats)] * 3) for name, nats in teachers.items()}
        return score(tokenizer, made, completions, objective)

    for item in both(get("dpca")).responses:
        np.testing.assert_allclose(item.advantages[:-1], -5.0, atol=1e-4)
    for item in both(get("dpca", max_advantage=2.0)).responses:
        np.testing.assert_allclose(item.advantages[:-1], -2.0, atol=1e-4)


# ---- what only one of the two supervises -----------------------------------------------------------------------------


def lacking(missing: bytes) -> tuple[Any, ByteVocab]:
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=without_entries(missing), eos_token="<|im_end|>")
    ensure_template(tokenizer)
    return tokenizer, ByteVocab.from_tokenizer(tokenizer)


HOLED = (b"\xe7", b"\xa9", b"\xbd")
"""Bytes of `界`, of `é`, and of `你好`, some of which end a chunk of several tokens."""


@pytest.mark.parametrize("missing", HOLED)
@pytest.mark.parametrize("teacher_name", ["gemma", "llama2", "qwen"])
def test_a_chunk_that_the_reference_does_not_score_whole_is_left_out_and_counted(
    sides, tokenizer, student, completions, teacher_name, missing
):
    completions = [*completions, [*student.encode("a fox 界 x2").ids.tolist()], []]
    alone = score(tokenizer, FakeTeacher(*sides[teacher_name]), completions)
    other = score(tokenizer, FakeTeacher(*lacking(missing)), completions)
    teachers = {"teacher": FakeTeacher(*sides[teacher_name]), "reference": FakeTeacher(*lacking(missing))}
    both = score(tokenizer, teachers, completions)
    assert_as_the_oracle(both, alone, other)
    coverage = both.coverage
    lost = coverage.dropped[DropReason.NO_REFERENCE]
    assert lost.tokens == int((alone.loss_mask & ~both.loss_mask).sum()) > 0
    assert (coverage.sampled.tokens, coverage.sampled.bytes) == (
        sum(map(len, completions)),
        alone.coverage.sampled.bytes,
    )
    assert coverage.supervised.tokens == both.loss_mask.sum() == both.weight
    taught = [item.response.ids[item.mask] for item in both.responses]
    assert coverage.supervised.bytes == sum(len(student.decode(ids)) for ids in taught)
    for item in both.responses:
        assert item.batch.student.ids.tolist() == item.response.ids[item.mask].tolist()
        np.testing.assert_array_equal(item.batch.student.old_logprobs, item.student_logprobs[item.mask])
        assert item.num_partly_scored == 0


def test_a_teacher_with_less_than_the_reference_is_as_before(sides, tokenizer, student):
    completions = [student.encode("a fox 界 x2").ids.tolist()]
    alone = score(tokenizer, FakeTeacher(*lacking(b"\xe7")), completions)
    teachers = {"teacher": FakeTeacher(*lacking(b"\xe7")), "reference": FakeTeacher(*sides["gpt2"])}
    both = score(tokenizer, teachers, completions)
    assert both.loss_mask.tolist() == alone.loss_mask.tolist()
    assert set(both.coverage.dropped) == {DropReason.UNENCODABLE}
    assert_as_the_oracle(both, alone, score(tokenizer, FakeTeacher(*sides["gpt2"]), completions))


@pytest.mark.parametrize("which", ["teacher", "reference"])
def test_a_response_that_one_of_them_drops_is_dropped_under_its_reason(sides, tokenizer, completions, which):
    answers = {"teacher": [score_of] * 3, "reference": [score_of] * 3, which: [score_of, too_long, score_of]}
    teachers = {name: FakeTeacher(*sides["gemma"], answers[name]) for name in ("teacher", "reference")}
    both = score(tokenizer, teachers, completions)
    item = both.responses[1]
    assert (item.dropped, item.teacher_name) == (DropReason.TEACHER_CONTEXT, which)
    assert (item.weight, item.mask.any(), item.advantages.any()) == (0, False, False)
    assert len(item.others) == 1
    assert both.responses[0].mask.all()
    assert set(both.coverage.dropped) == {DropReason.TEACHER_CONTEXT}


@pytest.mark.parametrize("name", NAMES)
def test_some_chunks_are_a_batch_of_their_own(sides, tokenizer, completions, name):
    batch = score(tokenizer, FakeTeacher(*sides[name]), completions).responses
    whole = AlignedBatch.concatenate([item.batch for item in batch])
    chunks = whole.alignment.num_chunks
    assert_same_batch(with_chunks(whole, np.ones(chunks, bool)), whole)
    kept = np.arange(chunks) % 3 != 1
    some = with_chunks(whole, kept)
    sizes = np.repeat(kept, whole.alignment.student_sizes)
    assert some.student.ids.tolist() == whole.student.ids[sizes].tolist()
    assert some.student.ends[some.alignment.student_splits[1:] - 1].tolist() == some.alignment.byte_splits[1:].tolist()
    assert some.teacher.ends[some.alignment.teacher_splits[1:] - 1].tolist() == some.alignment.byte_splits[1:].tolist()
    of_response = [int(kept[a:b].sum()) for a, b in pairwise(whole.response_splits)]
    assert np.diff(some.response_splits).tolist() == of_response
    nothing = with_chunks(whole, np.zeros(chunks, bool))
    assert (nothing.alignment.num_chunks, nothing.response_splits.tolist()) == (0, [0, 0, 0, 0])


# ---- who may have one ------------------------------------------------------------------------------------------------


def test_beside_several_teachers_it_is_subtracted_from_each_rows_own(sides, tokenizer, completions):
    def made() -> dict[str, FakeTeacher]:
        return {name: FakeTeacher(*sides[side]) for name, side in (("a", "gemma"), ("b", "qwen"))}

    reference = FakeTeacher(*sides["llama2"])
    other = score(tokenizer, FakeTeacher(*sides["llama2"]), completions)
    distiller = Distiller(tokenizer, {**made(), "reference": reference}, UNBOUNDED)
    old = [student_logprobs(ids) for ids in completions]
    both = distiller.score([PROMPT] * 3, completions, old, teachers=["a", "b", "a"])
    for row, name in enumerate("aba"):
        alone = score(tokenizer, made()[name], completions)
        expected = alone.responses[row].advantages - other.responses[row].advantages
        np.testing.assert_allclose(both.responses[row].advantages, expected, atol=2e-5)
    routing = Routing(("a", "b", "reference"), weights={"a": 1, "b": 3})
    mixed = score(tokenizer, {**made(), "reference": FakeTeacher(*sides["llama2"])}, completions, routing=routing)
    a, b = (score(tokenizer, made()[name], completions) for name in "ab")
    expected = 0.25 * a.advantages + 0.75 * b.advantages - other.advantages
    np.testing.assert_allclose(mixed.advantages, expected, atol=2e-5)


@pytest.mark.parametrize("name", ["strict", "bpm", "uld"])
def test_an_objective_that_reads_more_than_advantages_takes_none(sides, tokenizer, name):
    teachers = {kind: FakeTeacher(*sides["gemma"]) for kind in ("teacher", "reference")}
    with pytest.raises(
        InputError, match=f"objective '{name}' compares the student with the teacher itself, so the ref"
    ):
        Distiller(tokenizer, teachers, name)


def test_routing_knows_it_by_its_name():
    routing = Routing(("teacher", "reference"))
    assert (routing.teaching, routing.has_reference, routing.takes_column, routing.mixes) == (
        ("teacher",),
        True,
        False,
        True,
    )
    assert routing.of({"prompt": "x"}) == {"teacher": 1.0, "reference": -1.0}
    several = Routing(("a", "b", "reference"))
    assert several.takes_column
    assert several.of({"prompt": "x", "teacher": "b"}) == {"b": 1.0, "reference": -1.0}
    with pytest.raises(
        InputError, match="the column 'teacher' says 'reference', which is not one of the teachers: a, b"
    ):
        several.of({"prompt": "x", "teacher": "reference"})
    with pytest.raises(InputError, match="the only teacher is the reference, which is subtracted: name one that teach"):
        Routing(("reference",))
    for options in ({"rules": {"reference": ""}}, {"weights": {"reference": 1}}):
        with pytest.raises(InputError, match="names 'reference', which is not one of the teachers: a, b"):
            Routing(("a", "b", "reference"), **options)


def test_a_response_with_control_tokens_keeps_its_places(sides, tokenizer, student, special, completions):
    control, stop = special
    rows = [[control, *completions[0][:3], control, *completions[2][:-1], stop]]
    alone = score(tokenizer, FakeTeacher(*sides["gemma"]), rows)
    other = score(tokenizer, FakeTeacher(*lacking(b"\xa9")), rows)
    teachers = {"teacher": FakeTeacher(*sides["gemma"]), "reference": FakeTeacher(*lacking(b"\xa9"))}
    both = score(tokenizer, teachers, rows)
    assert_as_the_oracle(both, alone, other)
    assert split_response(rows[0], student, {stop}).num_special == 2
    assert both.coverage.dropped[DropReason.SPECIAL_TOKEN].tokens == 2
