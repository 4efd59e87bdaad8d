"""The expected loss against its definition."""

from dataclasses import replace
from random import Random

import pytest
import torch

from crossdistill import InputError
from crossdistill.objectives import VocabPair, get
from crossdistill.objectives.expected import Expected
from crossdistill.objectives.shared.bytewise.continued import continuations
from crossdistill.objectives.shared.bytewise.joins import JoinedTokens, joins_of
from tests.objectives.byte_prefixes import logits, one_chunk, responses, states_of, text_of, total_of
from tests.objectives.cases import case, vocab
from tests.oracles import expected as oracle
from tests.oracles.bpm import Text

REVERSE = {"divergence": "reverse"}
EVERYTHING = {b"h", b"hel", b"l", b"lo", b"lot", b"o", b"ox"}


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("stop_unit", [True, False])
@pytest.mark.parametrize("bound", [10.0, 0.5])
def test_value_and_gradient_equal_the_definition(seed, stop_unit, bound):
    """A bound of half a nat is reached, and old log-probabilities that are not the student's own are clipped."""
    whole = case(Expected(max_advantage=bound), seed=seed, stop_unit=stop_unit)
    inputs = whole.inputs()
    noise = torch.randn(len(inputs.advantages), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    student = replace(inputs.batch.student, old_logprobs=inputs.batch.student.old_logprobs + 0.5 * noise)
    inputs = replace(inputs, batch=replace(inputs.batch, student=student))
    sizes = [len(part.student.ids) for part in whole.parts]
    old, advantages = (values.split(sizes) for values in (student.old_logprobs, inputs.advantages))
    expected = total_of(
        [
            oracle.loss(text_of(whole.parts[k]), *logits(whole, k), old[k], advantages[k], bound)
            for k in responses(whole)
        ]
    )
    leaves = [whole.hidden[k] for k in responses(whole)]
    ours = whole.objective.loss(inputs).total
    torch.testing.assert_close(ours, expected)
    for got, wanted in zip(torch.autograd.grad(ours, leaves), torch.autograd.grad(expected, leaves), strict=True):
        torch.testing.assert_close(got, wanted)


def test_the_cases_have_both_kinds_of_terms():
    """Or the test above would compare dpca with dpca."""
    shares = [case(Expected(), seed=seed) for seed in range(8)]
    found = [whole.objective.loss(whole.inputs()).stats["sampled"].item() for whole in shares]
    counts = [len(whole.batch().student.ids) for whole in shares]
    assert all(0 < share < count for share, count in zip(found, counts, strict=True))
    assert any(share % 1 > 1e-3 for share in found)  # and some are known in part


def language(teacher_pieces, stops=((0,), (0,))):
    return VocabPair(vocab((b"", b"a", b"b")), vocab(teacher_pieces), *stops)


def test_a_finer_student_without_joins_has_the_gradient_of_bpm():
    """The teacher's tokens are aa, ab and b: none begins with another, so every target is known."""
    whole_pair = language((b"", b"aa", b"ab", b"b"))
    teacher = [[0.1, 0.2, 0.3, 0.4], [0.4, 0.3, 0.2, 0.1]]
    student = [[0.2, 0.5, 0.3], [0.3, 0.3, 0.4], [0.5, 0.2, 0.3]]
    states = states_of(student, teacher)
    inputs = one_chunk(whole_pair, [[1, 2], [2]], (states[0].at(torch.tensor([0, 1])), states[1].at(torch.tensor([0]))))
    gradients = [gradient(get(name, **options), inputs) for name, options in (("expected", {}), ("bpm", REVERSE))]
    torch.testing.assert_close(gradients[0][0], gradients[1][0])
    assert gradients[0].abs().amax(-1).min() > 0.01
    ratio = torch.tensor([0.4, 0.6]).double().log() - torch.tensor([0.3, 0.4]).double().log()
    leaf = inputs.student.hidden.detach()[1:].requires_grad_()  # after the a of ab: that a stop follows is not known
    inner = -(ratio * leaf.softmax(-1)[0, 1:]).sum()
    torch.testing.assert_close(gradients[0][1:], torch.autograd.grad(inner, leaf)[0])
    assert Expected().loss(inputs).stats["sampled"] == 0


def gradient(objective, inputs):
    hidden = inputs.student.hidden.detach().requires_grad_()
    given = replace(
        inputs, advantages=objective.advantages(inputs.batch), student=inputs.student._replace(hidden=hidden)
    )
    return torch.autograd.grad(objective.loss(given).total, hidden)[0]


def test_a_token_in_pieces_is_left_to_the_sample():
    """The student has ab, which the teacher writes as a and b: an expectation would have nothing to say of it."""
    whole_pair = VocabPair(vocab((b"", b"a", b"b", b"ab")), vocab((b"", b"a", b"b")), (0,), (0,))
    states = states_of([[0.1, 0.2, 0.3, 0.4]], [[0.1, 0.5, 0.4], [0.2, 0.3, 0.5]])
    inputs = one_chunk(whole_pair, [[3], [1, 2]], states)
    dpca = gradient(get("dpca"), inputs)
    found = gradient(get("expected"), inputs)
    ratio = torch.tensor([0.1, 0.5, 0.4], dtype=torch.float64).log() - torch.tensor([0.1, 0.2, 0.3]).double().log()
    leaf = inputs.student.hidden.detach().requires_grad_()
    probs = leaf.softmax(-1)[0]
    rest = torch.autograd.grad(-(ratio * probs[:3]).sum(), leaf)[0]
    torch.testing.assert_close(found, dpca + rest)
    assert Expected().loss(replace(inputs, advantages=get("dpca").advantages(inputs.batch))).stats["sampled"] == 1


@pytest.mark.parametrize(
    ("before", "read", "joined"),
    [
        (b"", b"", set()),  # there is no token before
        (b"x", b"", set()),  # nothing goes on from it
        (b"hel", b"", {b"l", b"lo", b"lot"}),  # hello, and student tokens that end within lo or go beyond it
        (b"hel", b"l", {b"o", b"ox"}),
        (b"hel", b"lo", EVERYTHING),  # it should have been hello
    ],
)
def test_what_the_teacher_would_have_joined(before, read, joined):
    pieces = (b"", *sorted(EVERYTHING), b"o")
    whole_pair = VocabPair(vocab(pieces), vocab((b"", b"h", b"hel", b"hello", b"l", b"lo", b"x")), (0,), (0,))
    mask = JoinedTokens(joins_of(whole_pair), [(b"x", b""), (before, read)], torch.device("cpu"))(torch.arange(2))
    assert {piece for piece, flag in zip(pieces, mask[1].tolist(), strict=True) if flag} == joined
    assert not mask[0].any()
    assert mask[1][pieces.index(b"o")] == mask[1][-1]  # ids of the same bytes


def test_joins_of_random_vocabularies():
    """Against the definition, for all tokens and everything that may have been read."""
    rng = Random(0)
    for _ in range(40):
        sides = [{bytes(rng.choices(b"ab", k=rng.randint(1, 4))) for _ in range(6)} for _ in range(2)]
        whole_pair = VocabPair(*(vocab((b"", *sorted(side))) for side in sides), (0,), (0,))
        student, teacher = (side.pieces for side in (whole_pair.student, whole_pair.teacher))
        text = Text((), (), student, teacher, (0,), (0,), stopped=False)
        keys = [(before, piece[:size]) for before in teacher for piece in teacher for size in range(len(piece))]
        mask = JoinedTokens(joins_of(whole_pair), keys, torch.device("cpu"))(torch.arange(len(keys)))
        wanted = [
            [bool(piece) and oracle.is_joined(text, before, read + piece) for piece in student] for before, read in keys
        ]
        assert mask.tolist() == wanted


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_bound_that_cannot_be(value):
    with pytest.raises(InputError, match="max_advantage"):
        Expected(max_advantage=value)


def test_a_stop_that_carries_bytes_is_not_gone_beyond():
    """Nothing follows it."""
    sides = vocab((b"", b"a", b"ab")), vocab((b"", b"a", b"ab"))
    assert continuations(VocabPair(*sides, (0,), (0,)), b"").tolist() == [[2, 1]]
    assert continuations(VocabPair(*sides, (0,), (1,)), b"").tolist() == []
