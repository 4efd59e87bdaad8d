"""Responses in both models' tokens, with random states and heads of the measured sizes."""

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.dense.cell import Setting, Size, response_lengths
from benchmarks.dense.vocabularies import MadeUp, make_up, one_vocabulary
from crossdistill import Alignment, ByteVocab, align
from crossdistill.objectives import AlignedBatch, LossInputs, Objective, StudentTokens, TeacherTokens, VocabPair
from crossdistill.ops import HiddenStates, LMHead, token_logprobs
from crossdistill.paired import PairedTokenization

LOGIT_STD = 3.0
Tokens = tuple[list[int], list[int]]
"""Ids of one response, the student's and the teacher's, without the stop tokens."""


@dataclass(frozen=True)
class Case:
    """A batch with random states.

    Attributes:
        batch: the responses, with the teacher's states.
        student: the student's states, differentiable.
        responses: the ids of each response.
    """

    batch: AlignedBatch
    student: HiddenStates
    responses: list[Tokens]

    def inputs(self, objective: Objective) -> LossInputs:
        return LossInputs(self.batch, objective.advantages(self.batch), self.student)

    @property
    def leaves(self) -> list[Tensor]:
        """The tensors that get a gradient."""
        return [leaf for leaf in (self.student.hidden, self.student.head.weight) if leaf.requires_grad]


@dataclass(frozen=True)
class World:
    """Both heads and vocabularies of a cell; it makes cases of any number of tokens.

    Attributes:
        size: the sizes of the output layers.
        setting: the setting of the run.
        same_vocabulary: whether both sides have the student's vocabulary, for a method that needs that.
    """

    size: Size
    setting: Setting
    same_vocabulary: bool = False

    @cached_property
    def _made(self) -> MadeUp:
        made = make_up(self.size.student_vocab, self.size.teacher_vocab, self.setting.seed)
        return one_vocabulary(made) if self.same_vocabulary else made

    @cached_property
    def tokenizers(self) -> list[Any]:
        """The real tokenizers that the setting names."""
        from benchmarks.alignment import tokenizer_of

        return [tokenizer_of(Path(folder), 0) for folder in (self.setting.student, self.setting.teacher)]

    @cached_property
    def pair(self) -> VocabPair:
        if not self.setting.student:
            return self._made.pair
        sizes = self.size.student_vocab, self.size.teacher_vocab
        vocabs = [ByteVocab.from_tokenizer(one, size) for one, size in zip(self.tokenizers, sizes, strict=True)]
        stops = [next(k for k, piece in enumerate(vocab.pieces) if not piece) for vocab in vocabs]
        return VocabPair(*vocabs, *((stop,) for stop in stops))

    @cached_property
    def heads(self) -> tuple[LMHead, LMHead]:
        size, generator = self.size, torch.Generator(self.setting.device).manual_seed(self.setting.seed)
        shapes = (size.student_vocab, size.student_hidden), (size.teacher_vocab, size.teacher_hidden)
        student, teacher = (self._random(generator, *shape) * (LOGIT_STD * shape[1] ** -0.5) for shape in shapes)
        return LMHead(student.requires_grad_(self.setting.trains_head)), LMHead(teacher)

    def case(self, tokens: int) -> Case:
        responses = self._responses(tokens)
        parts = [self._alignment(*ids) for ids in responses]
        alignment = Alignment.concatenate(parts)
        splits = np.cumsum([0, *(part.num_chunks for part in parts)])
        is_stop = np.zeros(alignment.num_chunks, dtype=bool)
        is_stop[splits[1:] - 1] = True
        generator = torch.Generator(self.setting.device).manual_seed(tokens)
        sides: list[tuple[Any, ...]] = []
        for side, (vocab, stops, head) in enumerate(
            (
                (self.pair.student, self.pair.student_stops, self.heads[0]),
                (self.pair.teacher, self.pair.teacher_stops, self.heads[1]),
            )
        ):
            ids = np.concatenate([[*ids[side], stops[0]] for ids in responses])
            lengths = np.where(np.isin(ids, stops), 1, vocab.lengths[ids])  # a stop unit has one byte
            hidden = self._random(generator, len(ids), head.weight.shape[1])
            known = torch.as_tensor(ids, device=hidden.device)
            with torch.no_grad():
                logprobs = token_logprobs(hidden, head, known).logprobs
            sides.append((known, torch.as_tensor(np.cumsum(lengths), device=hidden.device), logprobs, hidden))
        ours, theirs = sides
        batch = AlignedBatch(
            alignment,
            is_stop,
            splits,
            self.pair,
            StudentTokens(*ours[:3], ours[2]),
            TeacherTokens(*theirs[:3], HiddenStates(theirs[3], self.heads[1])),
        )
        return Case(batch, HiddenStates(ours[3].requires_grad_(), self.heads[0]), responses)

    def _responses(self, tokens: int) -> list[Tokens]:
        lengths = [length - 1 for length in response_lengths(tokens, self.setting.response_tokens)]  # and a stop
        if self.setting.student:
            return self._of_real_text(lengths)
        rng = Random(tokens)  # noqa: S311 - reproducible, not secret
        tables = self.pair.student_ids, self.pair.teacher_ids
        texts = [self._made.text(length, rng) for length in lengths]
        return [tuple([ids[piece][0] for piece in side] for ids, side in zip(tables, text)) for text in texts]  # noqa: B905

    def _of_real_text(self, lengths: list[int]) -> list[Tokens]:
        """English prose, one response after the other."""
        from benchmarks.alignment import texts

        vocabs = self.pair.student, self.pair.teacher
        ids = vocabs[0].encode(texts(16 * sum(lengths))["English"][: 16 * sum(lengths)]).ids.tolist()
        cuts = np.cumsum([0, *lengths]).tolist()
        rows = [ids[first:stop] for first, stop in pairwise(cuts)]
        readings = PairedTokenization.of_batch(vocabs[0], rows, vocabs[1])
        return [(row, reading.encoding.ids.tolist()) for row, reading in zip(rows, readings, strict=True)]

    def _alignment(self, student: list[int], teacher: list[int]) -> Alignment:
        ends = self.pair.student.ends(student), self.pair.teacher.ends(teacher)
        return Alignment.concatenate([align(*ends), Alignment([0, 1], [0, 1], [0, 1])])

    def _random(self, generator: torch.Generator, rows: int, columns: int) -> Tensor:
        dtype = getattr(torch, self.setting.dtype)
        return torch.randn(rows, columns, generator=generator, device=self.setting.device, dtype=dtype)
