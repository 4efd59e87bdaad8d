"""Differences of TRL 1.16's GOLD and GKD from their definitions; docs/divergences.md has these numbers.

If a test fails after an upgrade of TRL, the page has to change.
"""

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from crossdistill import ByteVocab
from crossdistill.objectives.gkd import GKD, generalised_jsd
from crossdistill.objectives.gold import GOLD
from crossdistill.objectives.shared.rank_distance import rank_distance
from crossdistill.objectives.uld import ULD
from crossdistill.paired import PairedTokenization
from tests.objectives.trl_side import (
    Response,
    ULDLoss,
    gkd_loss,
    large,
    offsets,
    small,
    teacher_inputs,
    uld_loss,
)
from tests.tokenizers_in_process import build

BAYESIAN = {"uld_token_merge_strategy": "bayesian"}
TOGETHER = {"uld_skip_student_eos": False, "uld_skip_teacher_eos": False}


def differing_at(response: Response, row: int) -> Response:
    """Two equal models, except for the student's state at one row; row 0 predicts the first token of the response."""
    student = response.states[0].detach().clone()
    teacher = student.clone()
    student[len(response.prompt_ids) - 1 + row] *= -1
    return replace(response, states=(student, teacher), heads=(response.heads[0], response.heads[0]))


def test_its_default_does_not_see_the_first_token():
    """It compares the rows after each token: a student that is wrong at the first one alone has no loss."""
    response = differing_at(Response.random("The quick brown fox", same=True), 0)
    assert response.theirs().item() == 0
    assert response.theirs(**TOGETHER).item() == 0
    assert response.ours(ULD()) > 0.005
    assert response.theirs(**BAYESIAN) > 0.005


def test_its_default_sees_what_follows_the_response():
    """Asked for the end too, it compares the rows after it, which predict nothing of the response."""
    response = Response.random("The quick brown fox", same=True)
    response = differing_at(response, len(response.ids) + 1)
    assert response.theirs(**TOGETHER) > 0.005
    assert response.ours(ULD()).item() == 0


def sure(ids: list[int], vocab_size: int, probability: float = 0.9) -> Tensor:
    """Logits of rows that give each of these ids that probability, and the others the same."""
    rest = math.log((1 - probability) / (vocab_size - 1))
    return torch.full((len(ids), vocab_size), rest).scatter(1, torch.tensor(ids)[:, None], math.log(probability))


def merged(rows_after: bool) -> float:
    """TRL's default merging of two tokens of probability 0.9 each; of rows after each token, or before it."""
    loss = uld_loss(None, None)
    rows = sure([1, 2, 3], 5).softmax(-1)  # the third token follows the two
    probs = rows[1:] if rows_after else rows[:2]
    return loss._merge_probabilities_with_alignment_groups(probs, [[0, 1]], [1, 2])[0, 1].item()


def test_its_default_multiplies_probabilities_of_other_positions():
    """Of a span of two tokens, each of probability 0.9, the realised entry is 0.81 by the rule it states."""
    assert merged(rows_after=False) == pytest.approx(0.81)
    assert merged(rows_after=True) == pytest.approx(0.025**2)


def test_its_default_teaches_no_end_of_turn():
    """The rows that predict the end are left out on both sides."""
    response = Response.random("The quick brown fox", same=True)
    response = differing_at(response, len(response.ids))
    assert response.theirs(**BAYESIAN).item() == 0
    assert response.theirs(**BAYESIAN, **TOGETHER) > 0.005
    assert response.ours(ULD()) > 0.005


def test_its_default_takes_the_last_token_of_a_truncated_response_for_its_end():
    response = Response.random("The quick brown fox", same=True, stopped=False)
    response = differing_at(response, len(response.ids) - 1)
    assert response.theirs(**BAYESIAN).item() == 0
    assert response.ours(ULD()) > 0.005


def test_what_is_left_of_a_truncated_responses_last_chunk_is_paired_wrongly():
    """The bytes `Sinc` of a student that wrote `S|i|n|c|e` are paired with `Since` as if both sides ended there."""
    student, teacher = small(), large()
    _, labels, byte_offsets = teacher_inputs(teacher, "Since")
    theirs = byte_offsets[0][labels[0] != -100][:-1, 1].tolist()
    ours = offsets(student, student("Since")["input_ids"])[:-1, 1].tolist()  # the last token is dropped
    groups = ULDLoss._align_by_byte_offsets([(0, end) for end in ours], [(0, end) for end in theirs])
    assert [(ours[i[-1]], theirs[j[-1]]) for i, j in zip(*groups, strict=True)] == [(3, 3), (4, 5)]


def boundaries(student: Any, teacher: Any, ids: list[int]) -> tuple[int, int]:
    """The number of synchronisation points that TRL finds, and the number that there are."""
    alignment = PairedTokenization.of(
        ByteVocab.from_tokenizer(student), ids, ByteVocab.from_tokenizer(teacher)
    ).alignment
    true = set(zip(alignment.student_splits[1:].tolist(), alignment.teacher_splits[1:].tolist(), strict=True))
    _, labels, byte_offsets = teacher_inputs(teacher, student.decode(ids))
    theirs = byte_offsets[0][labels[0] != -100][:-1].tolist()
    groups = ULDLoss._align_by_byte_offsets(offsets(student, ids).tolist(), theirs)
    ends, i, j = set(), 0, 0
    for our_group, their_group in zip(*groups, strict=True):
        i, j = i + len(our_group), j + len(their_group)
        ends.add((i, j))
    return len(true & ends), len(true)


def test_after_an_incomplete_character_no_boundary_is_right():
    student, teacher = small(), large()
    before, after = student("The fox jumps ")["input_ids"], student(" over the lazy dog and")["input_ids"]
    pieces = ByteVocab.from_tokenizer(student).pieces
    incomplete = [pieces.index(bytes([byte])) for byte in b"\xf0\x9f"]
    assert boundaries(student, teacher, before) == (5, 5)
    assert boundaries(student, teacher, [*before, *incomplete, *after]) == (5, 14)
    assert boundaries(student, teacher, [*before, *after]) == (13, 13)


def test_after_an_added_token_that_is_not_ascii_no_boundary_is_right():
    student, teacher = build("llama3"), large()
    assert boundaries(student, teacher, student("答案 思考 The answer is 12")["input_ids"]) == (3, 11)
    assert boundaries(student, teacher, student("答案 The answer is 12")["input_ids"]) == (9, 9)


SENTENCEPIECE = {"gemma": (14, 33), "llama2": (4, 39), "metaspace": (4, 39), "unigram": (13, 34)}


@pytest.mark.parametrize("name", SENTENCEPIECE)
def test_a_sentencepiece_student_is_aligned_wrongly(name):
    student, teacher = build(name), large()
    texts = ["The answer is 42.\nThen café", "Great job 🤗! The answer is 12.", "答案是：你好，世界。结果为 42。"]
    found = [boundaries(student, teacher, student(text, add_special_tokens=False)["input_ids"]) for text in texts]
    assert tuple(map(sum, zip(*found, strict=True))) == SENTENCEPIECE[name]


def test_a_sentencepiece_teacher_is_refused():
    with pytest.raises(NotImplementedError, match="supports only ByteLevel BPE"):
        teacher_inputs(build("gemma"), "text")


def test_entries_are_matched_by_name_and_not_by_bytes():
    """Between SentencePiece and byte-level names: 104 right of 375, and 6 pairs of other bytes."""
    student, teacher = build("gemma"), build("qwen")
    ours, theirs = (ByteVocab.from_tokenizer(side).pieces for side in (student, teacher))
    matches = uld_loss(student, teacher, uld_use_hybrid_loss=True)._vocab_mapping.items()
    pairs = [(ours[i], theirs[j]) for j, i in matches if ours[i] or theirs[j]]
    assert sum(a == b for a, b in pairs) == 104
    assert len({piece for piece in ours if piece} & set(theirs)) == 375
    assert ("é".encode(), b"\xe9") in pairs
    assert sum(a != b for a, b in pairs) == 6


def hybrid(student: Tensor, teacher: Tensor, names: tuple[str, str], **options: object) -> Tensor:
    """TRL's hybrid loss of one chunk's probabilities, both weights 1."""
    sides = [SimpleNamespace(get_vocab=lambda side=side: {name: k for k, name in enumerate(side)}) for side in names]
    weights = {"uld_hybrid_matched_weight": 1.0, "uld_hybrid_unmatched_weight": 1.0}
    loss = uld_loss(*sides, uld_use_hybrid_loss=True, **weights, **options)
    return loss._compute_hybrid_uld_loss(student[None], teacher[None])


def test_mass_that_a_side_without_other_entries_cannot_match_is_free():
    """The teacher has 0.9 outside of a student's vocabulary that is a part of its own."""
    student, teacher = torch.tensor([0.05, 0.05]), torch.tensor([0.05, 0.05, 0.9])
    assert hybrid(student, teacher, ("ab", "abc")).item() == 0
    assert rank_distance(student[None, :0], teacher[None, 2:]).item() == pytest.approx(0.9)


@pytest.mark.parametrize(("beta", "value"), [(0.0, -0.161), (1.0, 0.805)])
def test_at_the_ends_of_beta_its_matched_part_is_no_divergence(beta, value):
    """Merged entries do not sum to 1: KL of the teacher's 0.1 to the student's 0.5 is negative."""
    student, teacher = torch.tensor([0.5, 0.5]), torch.tensor([0.1, 0.9])
    assert hybrid(student, teacher, ("ab", "ac"), beta=beta).item() - 0.4 == pytest.approx(value, abs=1e-3)
    matched = GOLD(beta=beta)._matched(student[None, :1].log(), teacher[None, :1].log()).item()
    assert matched == pytest.approx(value + (0.4 if beta == 0 else -0.4), abs=1e-3)
    assert matched > 0


def test_a_matched_probability_below_1e_8_counts_as_1e_8():
    student, teacher = torch.tensor([1e-12, 1.0]), torch.tensor([1.0, 0.0])
    assert hybrid(student, teacher, ("ab", "ab"), beta=0.0).item() == pytest.approx(18.4, abs=0.1)
    assert generalised_jsd(0.0)(student[None].log(), teacher[None].log()).item() == pytest.approx(27.6, abs=0.1)


def test_a_teacher_that_masks_its_vocabulary_makes_gkd_nan():
    teacher = torch.tensor([[0.0, 0.0, -math.inf]])
    assert gkd_loss(torch.zeros(1, 3), teacher).isnan()
    assert GKD()._divergences(torch.zeros(1, 3), teacher, torch.zeros(1)).loss.isfinite().all()


def test_each_response_counts_the_same_however_long():
    """A mean over responses of means over chunks: at lengths 1 and 3, losses 1 and 0 give 1/2 and not 1/4."""
    loss = uld_loss(None, None, use_extended_uld=False, **BAYESIAN, **TOGETHER)
    labels = torch.tensor([[-100, 0, -100, -100], [-100, 0, 0, 0]])
    student, teacher = (torch.full((2, 4, 3), -200.0) for _ in range(2))
    student[..., 0] = teacher[1, :, 0] = 0
    teacher[0] = 0
    total = loss(student, teacher, labels, labels, labels.clamp(min=0), labels.clamp(min=0)).item()
    one = rank_distance(torch.tensor([[1.0, 0, 0]]), torch.full((1, 3), 1 / 3)).item()
    assert total == pytest.approx(one / 2)
