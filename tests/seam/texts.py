"""Texts of the language in two tokenisations, with the states of the teacher that reads them."""

from collections.abc import Iterable, Iterator

import torch

from crossdistill import ByteVocab
from crossdistill.objectives import AlignedBatch, VocabPair
from crossdistill.ops import HiddenStates, LMHead, last_hidden_states
from tests.objectives.cases import batch
from tests.seam import toy_models
from tests.seam.source import Source

LETTERS, TOKENS, CROSSING = "letters", "tokens", "crossing"
"""Which merged tokens a side has: none; aa and ab; ba, which begins inside one of these and ends in the next."""
_MERGES = {LETTERS: (), TOKENS: toy_models.MERGES, CROSSING: (("b", "a"),)}
_MODELS = {LETTERS: toy_models.student, TOKENS: toy_models.teacher}


def in_two_tokenisations(
    teacher_source: Source,
    texts: Iterable[str],
    student: str,
    teacher: str,
    alphabet: tuple[str, str] = ("a", "b"),
    stopped: bool = True,
) -> Iterator[AlignedBatch]:
    """Of each text; the student finds every token as probable as any other."""
    model, made = _MODELS[teacher](teacher_source, alphabet)
    sides = toy_models.tokenizer(alphabet, _MERGES[student], toy_models.BYTE_LEVEL), made
    vocabs = [ByteVocab.from_tokenizer(side, size=len(side)) for side in sides]
    stops = [tuple(side.convert_tokens_to_ids(list(toy_models.STOPS))) for side in sides]
    pair = VocabPair(vocabs[0], vocabs[1], stops[0], stops[1])
    letters = dict(zip("ab", alphabet, strict=True))
    for text in texts:
        data = "".join(letters[char] for char in text)
        ids = [made.eos_token_id, *vocabs[1].encode(data).ids]  # after a prompt the language starts
        hidden = last_hidden_states(model, torch.tensor([ids]), torch.ones(1, len(ids)))[0]
        theirs = HiddenStates(hidden[: len(ids) - 1 + stopped], LMHead.from_model(model))
        student_ids = vocabs[0].encode(data).ids.tolist()
        ours = HiddenStates(torch.zeros(len(student_ids) + stopped, 1), LMHead(torch.zeros(len(sides[0]), 1)))
        yield batch(pair, student_ids, stops[0][0] if stopped else None, (ours, theirs))


def pieces(part: AlignedBatch) -> list[str]:
    """The student's tokens of the text, without the stop."""
    ids = part.student.ids.tolist()
    return [part.pair.student.pieces[k].decode() for k in ids[: len(ids) - bool(part.is_stop.any())]]
