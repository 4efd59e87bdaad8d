"""Samples of verl's are scored as by a Distiller, and what cannot be scored is named in one sentence."""

import asyncio
from dataclasses import replace

import numpy as np
import pytest

from crossdistill.demo.run import asset
from crossdistill.errors import InputError, TeacherError
from crossdistill.integrations.verl.record import FIELD, Record, ResponseError, raise_first
from crossdistill.integrations.verl.scoring import Gathering, Sample, SampleScorer, turns
from crossdistill.train.monitor.rollout_sums import RolloutSums
from tests.integrations.verl.pair import samples, teaching


@pytest.fixture(scope="module")
def sampled() -> list[Sample]:
    return samples()


@pytest.fixture(scope="module")
def scorer() -> SampleScorer:
    return SampleScorer(teaching())


@pytest.mark.parametrize("options", [{}, {"credit": "uniform"}, {"credit": "marginal", "top_k": 8}], ids=str)
def test_advantages_are_the_distillers(sampled, options):
    distiller = teaching(objective_options=options).distiller()
    scored = SampleScorer(teaching(objective_options=options)).score(sampled)
    prompts, ids = [list(one.prompt) for one in sampled], [one.ids for one in sampled]
    batch = distiller.score(prompts, ids, [one.logprobs for one in sampled])
    for row, item in enumerate(scored):
        size = len(ids[row])
        np.testing.assert_allclose(item.advantages, batch.advantages[row, :size], atol=1e-6)
        assert item.mask.tolist() == batch.loss_mask[row, :size].tolist()
        assert np.abs(item.advantages).max() > 0
    gap = sum(RolloutSums(*item.record.sums).gap_nats for item in scored)
    assert gap == pytest.approx(sum(response.gap_nats for response in batch.responses))


def test_one_by_one_or_together_is_the_same(sampled, scorer):
    together = scorer.score(sampled)
    for one, item in zip(sampled, together, strict=True):
        (alone,) = scorer.score([one])
        np.testing.assert_allclose(alone.advantages, item.advantages, atol=1e-5)


def test_turns_are_scored_one_by_one_and_tool_results_not_at_all(sampled, scorer):
    first, second, third = sampled
    result = [{"role": "tool", "content": "7"}]
    said = [{"role": "assistant", "content": "first"}, *result, {"role": "assistant", "content": ""}]
    gap = [5] * 4
    both = replace(
        first,
        ids=[*first.ids, *gap, *second.ids],
        mask=[1] * len(first.ids) + [0] * len(gap) + [1] * len(second.ids),
        logprobs=[*first.logprobs, *[0.0] * len(gap), *second.logprobs],
        conversation=said,
    )
    scored, alone, other = scorer.score([both, first, third])
    size = len(first.ids)
    np.testing.assert_allclose(scored.advantages[:size], alone.advantages, atol=1e-5)
    assert not scored.mask[size : size + len(gap)].any()
    assert scored.mask[size + len(gap) :].any()
    sums = RolloutSums(*scored.record.sums)
    assert (sums.responses, sums.turns, sums.tool_tokens) == (1, 2, len(gap))
    assert RolloutSums(*other.record.sums).turns == 1


def test_the_stop_token_that_verl_leaves_in_a_turn_is_not_shown_to_the_teacher(sampled, scorer):
    first, second, _ = sampled
    mask = [1] * len(first.ids) + [0] + [1] * len(second.ids)
    ids, logprobs = [*first.ids, 5, *second.ids], [*first.logprobs, 0.0, *second.logprobs]
    both = replace(first, ids=ids, mask=mask, logprobs=logprobs)
    tail = [{"role": "tool", "content": "7"}, {"role": "assistant", "content": ""}]
    tokenizer = teaching().tokenizer
    (end,) = tokenizer.convert_ids_to_tokens(scorer.stop_ids())
    plain, with_end = (
        replace(both, conversation=[{"role": "assistant", "content": content}, *tail]) for content in ("a", f"a{end}")
    )
    (a,), (b,) = scorer.score([plain]), scorer.score([with_end])
    np.testing.assert_allclose(a.advantages, b.advantages, atol=1e-6)
    other = replace(both, conversation=[{"role": "assistant", "content": f"a{end} "}, *tail])
    assert not np.allclose(scorer.score([other])[0].advantages, a.advantages)


def test_tools_are_shown_to_the_teacher(sampled):
    schema = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
    made = teaching()
    assert made.distiller([schema]).renderer.tools == [schema]
    assert made.distiller([schema]) is made.distiller([dict(schema)])
    assert made.distiller() is not made.distiller([schema])
    assert made.distiller().teachers["teacher"] is made.distiller([schema]).teachers["teacher"]


def test_a_row_names_its_teacher(sampled):
    names = {"a": {"model": asset("teacher")}, "b": {"model": asset("other_teacher")}}
    scorer = SampleScorer(teaching(teacher=None, teachers=names))
    one = sampled[0]
    a, b = scorer.score([replace(one, teacher="a"), replace(one, teacher="b")])
    assert not np.allclose(a.advantages, b.advantages)
    with pytest.raises(InputError, match="the column 'teacher' says 'c', which is not one of the teachers: a, b"):
        scorer.score([replace(one, teacher="c")])


def test_stop_ids_are_those_of_the_distiller(scorer):
    assert scorer.stop_ids() == list(teaching().distiller().stop_ids) != []


def test_without_log_probabilities(sampled, scorer):
    with pytest.raises(InputError, match=r"returned no log-probabilities.*calculate_log_probs=True"):
        scorer.score([replace(sampled[0], logprobs=None)])


def test_a_prompt_that_verl_has_cut(sampled, scorer):
    with pytest.raises(InputError, match=r"cut a prompt of \d+ tokens to 5.*raise data.max_prompt_length"):
        scorer.score([replace(sampled[0], prompt_ids=sampled[0].prompt_ids[-5:])])


def test_a_prompt_of_another_template(sampled, scorer):
    with pytest.raises(InputError, match="another prompt than the student's chat template renders"):
        scorer.score([replace(sampled[0], prompt_ids=[*sampled[0].prompt_ids, 7])])


@pytest.mark.parametrize(
    ("mask", "roles"),
    [
        ([], []),
        ([1, 1], ["assistant"]),
        ([1, 0, 0], ["assistant"]),
        ([1, 0, 1], ["assistant", "tool", "assistant"]),
        ([1, 0, 1, 0, 1], ["assistant", "tool", "assistant", "tool", "assistant"]),
    ],
)
def test_messages_up_to_the_last_turn(mask, roles):
    said, result = {"role": "assistant", "content": "a"}, {"role": "tool", "content": "b"}
    assert [message["role"] for message in turns([said, result, said, result], mask)] == roles


# ---- gathering


def run(coroutine):
    return asyncio.run(coroutine)


def test_what_gathers_is_the_next_batch():
    sizes = []

    def call(items):
        sizes.append(len(items))
        return [item * item for item in items]

    async def main():
        gathering = Gathering(call)
        return await asyncio.gather(*(gathering.of(number) for number in range(7)))

    assert run(main()) == [0, 1, 4, 9, 16, 25, 36]
    assert sum(sizes) == 7
    assert len(sizes) <= 2


def test_a_failure_is_waited_for_only_once():
    calls = []

    def call(items):
        calls.append(items)
        raise TeacherError("the server is gone.")

    async def main():
        gathering = Gathering(call)
        first = await asyncio.gather(*(gathering.of(number) for number in range(5)), return_exceptions=True)
        later = await asyncio.gather(gathering.of(5), return_exceptions=True)
        return [*first, *later]

    assert [str(error) for error in run(main())] == ["the server is gone."] * 6
    assert len(calls) == 1


def test_another_failure_is_that_of_its_batch_alone():
    def call(items):
        if items == ["bad"]:
            raise KeyError("column")
        if items == ["wrong"]:
            raise InputError("name it.")
        return items

    async def main():
        gathering = Gathering(call)
        return [*await asyncio.gather(gathering.of("bad"), return_exceptions=True), *await one_by_one(gathering)]

    async def one_by_one(gathering):
        wrong = await asyncio.gather(gathering.of("wrong"), return_exceptions=True)
        return [*wrong, await gathering.of("good")]

    bad, wrong, good = run(main())
    assert isinstance(bad, ResponseError)
    assert str(bad).startswith("a response could not be scored, because of KeyError: 'column' (its traceback is in")
    assert isinstance(wrong, InputError)
    assert good == "good"


# ---- records


def test_a_record_survives_the_transport(sampled, scorer):
    record = scorer.score(sampled[:1])[0].record
    assert Record.read(record.as_dict()) == record
    sums = RolloutSums(*record.sums)
    assert record.coverage().sampled.tokens == sums.sampled_tokens == len(sampled[0].ids)
    assert record.coverage().supervised.bytes == sums.supervised_bytes


def test_the_teachers_failure_is_raised_first():
    sound = Record()
    failed = [Record.of_error(InputError("a bad prompt.")), Record.of_error(TeacherError("nobody answers."))]
    raise_first([sound, sound])
    with pytest.raises(TeacherError, match="nobody answers"):
        raise_first([sound, *failed])
    with pytest.raises(InputError, match="a bad prompt"):
        raise_first([Record.read(failed[0].as_dict())])
    fault = Record.of_error(ResponseError("could not be scored."))
    with pytest.raises(ResponseError, match="could not be scored"):
        raise_first([sound, Record.read(fault.as_dict())])


def test_a_response_of_a_loop_that_does_not_score(sampled, scorer):
    record = scorer.score(sampled[:1])[0].record
    assert Record.of_response({FIELD: record.as_dict(), "other": 1}) == record
    with pytest.raises(InputError, match="an agent loop that does not ask the teacher sampled a response"):
        Record.of_response({"turn_scores": []})


def test_whether_a_response_has_a_gap(sampled, scorer):
    record = scorer.score(sampled[:1])[0].record
    assert record.is_supervised
    nothing = replace(RolloutSums(*record.sums), supervised_tokens=0, supervised_bytes=0)
    assert not replace(record, sums=nothing.values()).is_supervised
    assert not Record().is_supervised
