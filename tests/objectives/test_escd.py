"""The escd loss against its definition."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from crossdistill import InputError
from crossdistill.objectives import AlignedBatch, LossInputs, VocabPair, get
from crossdistill.objectives.bpm import BPM
from crossdistill.objectives.escd import ESCD
from crossdistill.objectives.shared.bytewise import range_masses
from crossdistill.objectives.shared.bytewise import targets as targets_module
from crossdistill.objectives.shared.bytewise.unfinished import UnfinishedTokens, unfinished_of
from crossdistill.signal import Signal
from tests.objectives.byte_prefixes import LETTERS, logits, one_chunk, responses, states_of, text_of, total_of
from tests.objectives.cases import LETTERS_APART, Case, case, equal_case, pair, vocab
from tests.objectives.matrices import masked
from tests.objectives.test_bpm import rounded
from tests.oracles import escd as oracle

OPTIONS = [
    {},
    {"completion": "several_tokens"},
    {"events": "all"},
    {"completion": "several_tokens", "events": "all", "normalise": True, "child_weight": 0.3},
    {"normalise": True, "temperature": 2.0},
    {"completion": "several_tokens", "temperature": 0.7, "child_weight": 2.0},
    {"child_weight": 0.0},
]
LONG = (b"abab", b"", b"aab", b"ab", b"b", b"a", b" ", b"", b"abb", b"abba", b"ab ab", b"ababb", b"bb", b"bab", b"abab")
"""Teacher tokens that a student of few letters completes in up to four more tokens; two ids are `abab`."""
DEEP = VocabPair(vocab((b"", b"a", b"b", b" ", b"ab", b"a", b"", b"ba")), vocab(LONG), (0,), (1, 7))
BYTES = VocabPair(vocab((b"", b"a", b"b", b" ")), vocab(LONG), (0,), (1, 7))
PAIRS = {"usual": None, "deep": DEEP, "bytes": BYTES}


def expected(whole: Case, options: dict[str, object]) -> torch.Tensor:
    return total_of([oracle.loss(text_of(whole.parts[k]), *logits(whole, k), **options) for k in responses(whole)])


def assert_equals_oracle(whole: Case, options: dict[str, object]) -> None:
    leaves = [whole.hidden[k] for k in responses(whole)]
    ours, theirs = whole.loss(), expected(whole, options)
    torch.testing.assert_close(ours, theirs)
    for got, wanted in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(theirs, leaves), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("seed", [0, 4])
@pytest.mark.parametrize("vocabs", PAIRS)
def test_value_and_gradient_equal_the_definition(options, seed, vocabs):
    assert_equals_oracle(case(ESCD(**options), seed=seed, vocabs=PAIRS[vocabs]), options)


@pytest.mark.parametrize("seed", range(3))
def test_a_path_ends_with_its_response(seed):
    """Many short responses, of which every second one is truncated, with a next one that would go on with the path."""
    options = {"completion": "several_tokens"}
    assert_equals_oracle(case(ESCD(**options), seed=seed, lengths=(3, 2) * 8, vocabs=BYTES), options)


def with_positions(whole: Case, positions: list[torch.Tensor]) -> Case:
    """Its responses, with tokens in between that are in no chunk."""
    parts = [
        replace(part, student=replace(part.student, positions=own))
        for part, own in zip(whole.parts, positions, strict=True)
    ]
    return replace(whole, parts=parts)


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
def test_a_token_that_is_in_no_chunk_ends_what_was_begun(options):
    """What is asked for after it is what is asked for after the end of a response."""
    whole = case(ESCD(**options), seed=2, lengths=(30,), vocabs=BYTES)
    (part,) = whole.parts
    alone = np.flatnonzero(part.alignment.student_sizes == 1)  # s is a chunk, so what completes it is in the next one
    firsts = part.student.ids[part.alignment.student_splits[:-1][alone]]
    middle = int(alone[np.flatnonzero(firsts == BYTES.student.pieces.index(b"a"))[0]]) + 1
    cut = replace(part, response_splits=np.array([0, middle, part.alignment.num_chunks]), groups=None)
    places = torch.arange(len(part.student.ids))
    later = places + (places >= int(part.alignment.student_splits[middle]))
    assert with_positions(whole, [places]).loss() == whole.loss()
    apart = with_positions(whole, [later]).loss()
    torch.testing.assert_close(apart, replace(whole, parts=[cut]).loss())
    assert (apart - whole.loss()).abs().item() > 1e-3
    root = replace(whole, objective=ESCD(child_weight=0.0, temperature=options.get("temperature", 1.0)))
    torch.testing.assert_close(with_positions(whole, [2 * places]).loss(), root.loss())


def test_gaps_of_several_responses_are_their_own():
    whole = case(ESCD(**OPTIONS[1]), seed=5, lengths=(20, 0, 9, 14), vocabs=BYTES)
    places = [torch.arange(len(part.student.ids)) for part in whole.parts]
    gapped = with_positions(whole, [place + (place >= 4) for place in places])
    torch.testing.assert_close(gapped.loss(), total_of([gapped.loss([k]) for k in responses(gapped)]))


@pytest.mark.parametrize("options", OPTIONS[:2], ids=str)
def test_they_do_without_a_stop_unit(options):
    assert_equals_oracle(case(ESCD(**options), seed=2, stop_unit=False), options)


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
@pytest.mark.parametrize("banned", [[3, 8], [0, 2, 9, 10, 11, 14]])
def test_they_do_where_the_teacher_gives_some_tokens_no_probability(options, banned):
    """Some of T(s), and all of it."""
    assert_equals_oracle(masked(case(ESCD(**options), seed=1, vocabs=DEEP), banned), options)


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
def test_small_tiles_give_the_same(monkeypatch, options):
    whole = case(ESCD(**options), seed=4, vocabs=DEEP)
    together = whole.loss()
    for module in (targets_module, range_masses):
        monkeypatch.setattr(module, "TILE_ELEMENTS", 60)
    torch.testing.assert_close(whole.loss(), together)


def test_several_tokens_complete_what_one_does_not():
    """A rest of several bytes is completed over several one-byte tokens, so there are more terms."""
    for vocabs in (DEEP, BYTES):
        one, several = (
            ESCD(completion=name).loss(case(ESCD(), seed=3, lengths=(40,), vocabs=vocabs).inputs()).stats["begun"]
            for name in ("one_token", "several_tokens")
        )
        assert several > one + 0.01


# ---- by hand ---------------------------------------------------------------------------------------------------------

TEACHER = [0.1, 0.2, 0.4, 0.1, 0.2]
STUDENT = [[0.2, 0.5, 0.3], [0.1, 0.3, 0.6]]


def test_the_next_token_completes_what_was_begun():
    """The teacher reads `ab` and the student `a`, `b`: of T(a) = {ab} the rest is `b`, with 0.6 of the student."""
    inputs = one_chunk(LETTERS, [[1, 2], [2]], states_of(STUDENT, [TEACHER]))
    root = [(0.6, 0.5), (0.1, 0.3), (0.1, 0.2), (0.2, math.exp(-100))]
    for normalise, weight in ((False, 0.4), (True, 1.0)):
        loss = ESCD(normalise=normalise, child_weight=0.5).loss(inputs)
        child = -weight * math.log(0.6)
        assert loss.total.item() == pytest.approx(sum(q * math.log(q / p) for q, p in root) + child / 2)
        assert loss.stats["child"].item() == pytest.approx(child)
        assert loss.stats["begun"].item() == pytest.approx(0.4)
        assert loss.stats["residual"].item() == pytest.approx(0.2)


def test_several_tokens_complete_it_along_the_path():
    """The teacher reads `abb`; the student wrote `a`, `b`, `b`, and `bb` would have completed it at once."""
    vocabs = VocabPair(vocab((b"", b"a", b"b", b"bb")), vocab((b"", b"abb", b"abbb")), (0,), (0,))
    student = [[0.25] * 4, [0.1, 0.2, 0.4, 0.3], [0.2, 0.1, 0.5, 0.2]]
    inputs = one_chunk(vocabs, [[1, 2, 2], [1]], states_of(student, [[0.1, 0.6, 0.3]]))
    at_once, along = 0.3, 0.3 + 0.4 * (0.5 + 0.2)
    of_longer = 0.4 * 0.2  # bbb: b, and then bb; nothing is known of what comes after the last b
    one, several = (
        ESCD(completion=name).loss(inputs).stats["child"].item() for name in ("one_token", "several_tokens")
    )
    assert one == pytest.approx(-0.6 * math.log(at_once))
    assert several == pytest.approx(-0.6 * math.log(along) - 0.3 * math.log(of_longer))


def test_a_token_that_the_student_has_is_not_begun_by_a_shorter_one():
    """Unless all are asked for: the student wrote `a`, and has `ab` too."""
    vocabs = VocabPair(vocab((b"", b"a", b"b", b"ab")), vocab((b"", b"a", b"ab", b"abb")), (0,), (0,))
    assert unfinished_of(vocabs, True).of(b"a") == (1, 1)
    found = unfinished_of(vocabs, False)
    assert [found.pieces[place] for place in range(*found.of(b"a"))] == [b"ab", b"abb"]
    found = unfinished_of(vocabs, True)
    assert [found.pieces[place] for place in range(*found.of(b"ab"))] == [b"abb"]
    assert unfinished_of(vocabs, True) is found


PIECE = st.lists(st.sampled_from([b"a", b"b", b"\xfe", b"\xff"]), max_size=4).map(b"".join)
PIECES = st.lists(PIECE, min_size=2, max_size=12).map(tuple)


@given(student=PIECES, teacher=PIECES, routed=st.booleans(), data=PIECE)
def test_tables_equal_a_look_at_every_token(student, teacher, routed, data):
    tables = UnfinishedTokens(VocabPair(vocab(student), vocab(teacher), (1,), (0, 1)), routed)
    ours = {piece for k, piece in enumerate(student) if piece and k != 1}
    theirs = [(k, piece) for k, piece in enumerate(teacher) if piece and k > 1]
    for piece in ours:
        begun = [(k, t) for k, t in theirs if t.startswith(piece) and t != piece]
        if routed:
            begun = [(k, t) for k, t in begun if max((p for p in ours if t.startswith(p)), key=len) == piece]
        low, high = tables.of(piece)
        assert sorted(tables.order[low:high].tolist()) == [k for k, _ in begun]
        assert tables.pieces[low:high] == sorted(t for _, t in begun)
        low, high = tables.continued(piece, data)
        going_on = [k for k, t in begun if t.startswith(piece + data) and t != piece + data]
        assert sorted(tables.order[low:high].tolist()) == going_on
        completing = {
            t: {k for k, p in enumerate(student) if k != 1 and p.startswith(t[len(piece) :])} for _, t in begun
        }
        found = tables.completions(piece)
        assert [tables.pieces[place] for place in found.places] == sorted(t for _, t in begun if completing[t])
        for place, first, size in zip(*found, strict=True):
            ids = tables.student.order[first : first + size]
            assert set(ids.tolist()) == completing[tables.pieces[place]]


# ---- where there is a child ------------------------------------------------------------------------------------------


def gradient(inputs: LossInputs, objective: ESCD) -> torch.Tensor:
    hidden = inputs.student.hidden.detach().requires_grad_()
    loss = objective.loss(replace(inputs, student=inputs.student._replace(hidden=hidden))).total
    return torch.autograd.grad(loss, hidden)[0]


def test_the_last_token_of_a_response_has_no_child():
    """Not even the first one of the next response: the response was truncated after `a`."""
    teacher = [0.1, 0.2, 0.4, 0.1, 0.2]
    parts = [
        one_chunk(LETTERS, [[token], [token if token == 1 else 3]], states_of([STUDENT[0]], [teacher])).batch
        for token in (1, 2)
    ]
    whole = AlignedBatch.concatenate(parts)
    states = states_of(STUDENT, [teacher])[0]
    for completion in ("one_token", "several_tokens"):
        stats = ESCD(completion=completion).loss(LossInputs(whole, torch.zeros(2), states)).stats
        assert stats.get("begun", torch.zeros(())).item() == 0
        one_response = replace(whole, response_splits=np.array([0, 2]))
        stats = ESCD(completion=completion).loss(LossInputs(one_response, torch.zeros(2), states)).stats
        assert stats["begun"].item() == pytest.approx(0.4)


def test_the_end_of_the_response_is_a_position_that_was_visited():
    """The student wrote `a` and its stop: at the stop it did not complete `ab`."""
    whole = case(ESCD(), seed=0, lengths=(1,), vocabs=BYTES)
    ids = whole.parts[0].student.ids.tolist()
    assert len(ids) == 2
    with_child, without = (gradient(whole.inputs(), ESCD(child_weight=weight)) for weight in (1.0, 0.0))
    moved = (with_child - without).abs().sum(-1) > 1e-9
    assert moved.tolist() == [False, BYTES.student.pieces[ids[0]] in (b"a", b"b")]


def test_the_root_alone_is_bpm_at_chunk_starts():
    """Equal in a text of 1:1 chunks; otherwise bpm has terms inside the teacher's tokens too."""
    one_to_one = equal_case(ESCD(child_weight=0.0), seed=3)
    one_to_one.hidden = [rows.detach().roll(1, 0).requires_grad_() for rows in one_to_one.hidden]
    inputs = one_to_one.inputs()
    torch.testing.assert_close(ESCD(child_weight=0.0).loss(inputs).total, BPM(divergence="forward").loss(inputs).total)
    whole = case(ESCD(), seed=4)
    assert ESCD(child_weight=0.0).loss(whole.inputs()).total < BPM(divergence="forward").loss(whole.inputs()).total
    assert ESCD().weight(whole.batch()) == whole.batch().alignment.num_chunks < BPM().weight(whole.batch())


@pytest.mark.parametrize("completion", ["one_token", "several_tokens"])
def test_at_equality_nothing_is_learnt_unless_all_events_are_asked_for(completion):
    for events, is_zero in (("routed", True), ("all", False)):
        whole = equal_case(ESCD(completion=completion, events=events), seed=1)
        loss = whole.loss()
        slopes = torch.cat(torch.autograd.grad(loss, whole.hidden))
        assert (loss.abs() < 1e-9).item() is is_zero
        assert (slopes.abs().max() < 1e-9).item() is is_zero


def test_the_gradient_asks_for_any_completing_token():
    """`b` and `bb` both complete `ab`; each gets a share of the gradient by its own probability."""
    vocabs = VocabPair(vocab((b"", b"a", b"b", b"bb")), vocab((b"", b"a", b"ab")), (0,), (0,))
    student = [[0.25] * 4, [0.2, 0.3, 0.4, 0.1]]
    inputs = one_chunk(vocabs, [[1, 2], [2]], states_of(student, [[0.1, 0.3, 0.6]]))
    child = gradient(inputs, ESCD()) - gradient(inputs, ESCD(child_weight=0.0))
    wanted = [0.6 * (p - done) for p, done in zip(student[1], (0, 0, 0.8, 0.2), strict=True)]
    assert child[1].tolist() == pytest.approx(wanted)
    assert not child[0].any()


# ---- extremes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", OPTIONS[:6], ids=str)
def test_a_completion_that_the_student_rules_out_costs_a_finite_loss(options):
    whole = case(ESCD(**options), seed=2, vocabs=DEEP)
    bias = whole.head.bias.clone()
    bias[[2, 4, 7]] = -torch.inf  # b, ab and ba
    whole.head = replace(whole.head, bias=bias)
    loss = whole.loss()
    assert loss.isfinite()
    assert loss > 20
    assert all(
        slope.isfinite().all() for slope in torch.autograd.grad(loss, [whole.hidden[k] for k in responses(whole)])
    )


@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("completion", ["one_token", "several_tokens"])
def test_in_low_precision_it_is_that_of_the_same_numbers(completion, dtype, apart):
    whole = case(ESCD(completion=completion), seed=4, vocabs=DEEP)
    losses, slopes = [], []
    for narrow in (torch.float64, dtype):
        inputs = whole.inputs()
        ours, theirs = (rounded(side, dtype, narrow) for side in (inputs.student, inputs.batch.teacher.dense))
        loss = whole.objective.loss(replace(inputs, batch=inputs.batch.with_teacher(states=theirs), student=ours)).total
        losses.append(loss.double())
        slopes.append(torch.autograd.grad(loss, ours.hidden)[0].double())
    assert (losses[1] - losses[0]).abs() <= apart * losses[0]
    assert (slopes[1] - slopes[0]).norm() <= apart * slopes[0].norm()


def test_a_pair_without_a_common_beginning_is_refused():
    with pytest.raises(InputError, match=r"objective 'escd' gives .* no teacher token begins with one"):
        ESCD().check(VocabPair(vocab((b"", b"a")), vocab((b"", b"b"))))
    ESCD().check(VocabPair(*map(vocab, LETTERS_APART)))
    ESCD().check(pair())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"completion": "two_tokens"}, "completion is one of one_token, several_tokens, not 'two_tokens'"),
        ({"events": "some"}, "events is one of routed, all, not 'some'"),
        ({"child_weight": -1.0}, "child_weight must be a finite number >= 0, not -1.0"),
        ({"child_weight": math.inf}, "child_weight must be a finite number >= 0, not inf"),
        ({"temperature": 0.0}, "temperature must be a finite number > 0, not 0.0"),
    ],
)
def test_values_that_cannot_work_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        ESCD(**options)


def test_an_option_of_another_type_is_refused():
    with pytest.raises(InputError, match="option 'normalise' of objective 'escd' must be true or false, not 1"):
        get("escd", normalise=1)


def test_what_it_needs():
    objective = get("escd")
    assert (objective.signal, objective.loss_signal, objective.on_policy_only) == (Signal.DENSE, Signal.DENSE, False)
    assert (objective.completion, objective.events) == ("one_token", "routed")
    assert (objective.normalise, objective.child_weight, objective.temperature) == (False, 1.0, 1.0)
