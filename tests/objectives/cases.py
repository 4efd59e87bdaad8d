"""Small random cases for objectives, in float64: vocabularies over three letters, responses, both models' states.

The student's tokens are random, the teacher takes the longest match. Log-probabilities are those of the states, so that
everything fits together as in a real run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import numpy as np
import torch
from torch import Tensor

from crossdistill import Alignment, ByteVocab
from crossdistill.objectives import AlignedBatch, LossInputs, Objective, StudentTokens, TeacherTokens, VocabPair
from crossdistill.objectives.shared.response_groups import ResponseGroups
from crossdistill.ops import HiddenStates, LMHead, TopLogprobs
from crossdistill.paired import PairedTokenization
from crossdistill.tokens.source import ByteSource, VocabEntries, byte_ids_of

STUDENT_PIECES = (b"", b"a", b"b", b" ", b"aa", b"ab", b"a b", b"a", b"bb", b"", b"bab")
"""Two ids are `a`; id 0 ends a response and id 9 is a control token."""
TEACHER_PIECES = (b"b", b"", b"aa", b"a", b" ", b"ab", b"aab", b"", b" b", b"b", b"abb", b"  ", b"")
"""Two ids are `b`; ids 1 and 7 end a response and id 12 is a control token."""
LETTERS_APART = ((b"", b"a", b"b"), (b"", b"aa", b"ab", b"ba", b"bb"))
"""Two vocabularies over two letters that share no entry."""
STUDENT_STOPS, TEACHER_STOPS = (0,), (1, 7)
H_S, H_T = 5, 4


class LongestMatch(ByteSource):
    """Entries of bytes, encoded by the longest match."""

    def __init__(self, pieces: Sequence[bytes]):
        self.entries = VocabEntries("toy", list(pieces), byte_ids_of(list(pieces)))

    def ids(self, text: str) -> list[int]:
        return self.merged(text.encode())

    def merged(self, data: bytes) -> list[int]:
        ids: list[int] = []
        while data:
            fitting = [k for k, piece in enumerate(self.entries.pieces) if piece and data.startswith(piece)]
            ids.append(max(fitting, key=lambda k: (len(self.entries.pieces[k]), -k)))
            data = data[len(self.entries.pieces[ids[-1]]) :]
        return ids


def vocab(pieces: Sequence[bytes]) -> ByteVocab:
    return ByteVocab(LongestMatch(pieces))


def pair(stop_unit: bool = True) -> VocabPair:
    stops = (STUDENT_STOPS, TEACHER_STOPS) if stop_unit else ((), ())
    return VocabPair(vocab(STUDENT_PIECES), vocab(TEACHER_PIECES), *stops)


def sampled(rng: Random, vocabulary: ByteVocab, num_tokens: int) -> list[int]:
    """Random tokens that carry bytes."""
    return rng.choices([k for k, piece in enumerate(vocabulary.pieces) if piece], k=num_tokens)


def head(generator: torch.Generator, vocab_size: int, hidden_size: int) -> LMHead:
    """A head with a bias, a scale and a soft cap."""
    weight = torch.randn(vocab_size, hidden_size, generator=generator, dtype=torch.float64)
    bias = torch.randn(vocab_size, generator=generator, dtype=torch.float64)
    return LMHead(weight, bias, scale=0.8, softcap=6.0)


class OutputLayer(torch.nn.Module):
    """The part of a model that an objective with auxiliary heads needs."""

    def __init__(self, head: LMHead):
        super().__init__()
        self.register_buffer("weight", head.weight)

    def get_output_embeddings(self) -> "OutputLayer":
        return self


def attach(objective: Objective, head: LMHead, generator: torch.Generator) -> torch.nn.Module:
    """A model with random weights in the objective's auxiliary heads, if it has any."""
    model = OutputLayer(head)
    objective.attach(model)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.01, generator=generator)
    return model


def batch_of_logprobs(student: Tensor, teacher: Tensor, alignment: Alignment) -> AlignedBatch:
    """A batch with these log-probabilities; its ids are of no account."""
    sides = []
    for logprobs in (student, teacher):
        ids = torch.zeros(len(logprobs), dtype=torch.long)
        sides.append((ids, torch.arange(1, len(ids) + 1), logprobs))
    chunks = alignment.num_chunks
    ours = StudentTokens(*sides[0][:2], student, student)
    return AlignedBatch(
        alignment, np.zeros(chunks, bool), np.array([0, chunks]), pair(), ours, TeacherTokens(*sides[1])
    )


@dataclass
class Case:
    """Responses with both models' states.

    Attributes:
        parts: the batch of each response, with the teacher's states.
        hidden: the student's states of each response, float64 leaves.
        head: the student's head.
        objective: the objective.
    """

    parts: list[AlignedBatch]
    hidden: list[Tensor]
    head: LMHead
    objective: Objective

    def batch(self, which: Sequence[int] | None = None) -> AlignedBatch:
        """Some responses, or all, with the signal that the objective asks for."""
        chosen = range(len(self.parts)) if which is None else which
        return AlignedBatch.concatenate([with_signal(self.parts[k], self.objective) for k in chosen])

    def inputs(self, which: Sequence[int] | None = None) -> LossInputs:
        """Of some responses, with the advantages that they have among all."""
        chosen = range(len(self.parts)) if which is None else which
        states = HiddenStates(torch.cat([self.hidden[k] for k in chosen]), self.head)
        advantages = self.objective.advantages(self.batch()).split([len(part.student.ids) for part in self.parts])
        return LossInputs(self.batch(which), torch.cat([advantages[k] for k in chosen]), states)

    def loss(self, which: Sequence[int] | None = None) -> Tensor:
        return self.objective.loss(self.inputs(which)).total


def with_signal(part: AlignedBatch, objective: Objective) -> AlignedBatch:
    states = part.teacher.dense
    if objective.signal.value == "dense":
        return part
    topk = None
    if objective.signal.value == "topk":
        log_probs = torch.log_softmax(states.head.logits(states.hidden), -1)
        top = log_probs.topk(min(objective.num_named, log_probs.shape[1]), -1)
        topk = TopLogprobs(top.indices, top.values)
    return part.with_teacher(topk=topk)


def batch(
    vocabs: VocabPair,
    student_ids: Sequence[int],
    stop: int | None,
    states: tuple[HiddenStates, HiddenStates],
) -> AlignedBatch:
    """One response; `states` of the student and of the teacher have a row per token, and one for the stop if any."""
    reading = PairedTokenization.of(vocabs.student, student_ids, vocabs.teacher)
    stopped = stop is not None
    one = Alignment([0, 1], [0, 1], [0, 1])
    alignment = Alignment.concatenate([reading.alignment, *([one] if stopped else [])])
    num_bytes = len(reading.data)
    ids = [torch.tensor([*student_ids, *([stop] if stopped else [])], dtype=torch.long)]
    ids += [torch.tensor([*reading.encoding.ids, *(vocabs.teacher_stops[:1] if stopped else [])], dtype=torch.long)]
    last = np.full(int(stopped), num_bytes + 1)
    ends = [np.concatenate([own, last]) for own in (vocabs.student.ends(student_ids), reading.encoding.ends)]
    logprobs, masses = [], []
    for side, stops, tokens in zip(states, (vocabs.student_stops, vocabs.teacher_stops), ids, strict=True):
        log_probs = torch.log_softmax(side.head.logits(side.hidden), -1).detach()
        row = log_probs.gather(1, tokens[:, None])[:, 0]
        logprobs.append(row)
        mass = row.clone()
        if stopped:
            mass[-1] = log_probs[-1, list(stops)].logsumexp(-1)
        masses.append(mass)
    is_stop = np.zeros(alignment.num_chunks, dtype=bool)
    is_stop[alignment.num_chunks - stopped :] = True
    return AlignedBatch(
        alignment,
        is_stop,
        np.array([0, alignment.num_chunks]),
        vocabs,
        StudentTokens(ids[0], torch.as_tensor(ends[0]), logprobs[0], masses[0]),
        TeacherTokens(ids[1], torch.as_tensor(ends[1]), masses[1], states[1]),
    )


def case(
    objective: Objective,
    seed: int = 0,
    lengths: Sequence[int] = (6, 0, 3, 9),
    stop_unit: bool = True,
    vocabs: VocabPair | None = None,
) -> Case:
    """Responses with these numbers of sampled tokens; every second one is truncated. By default of :func:`pair`."""
    rng, generator = Random(seed), torch.Generator().manual_seed(seed)
    vocabs = vocabs or pair(stop_unit)
    heads = head(generator, len(vocabs.student), H_S), head(generator, len(vocabs.teacher), H_T)
    parts, hidden = [], []
    for number, length in enumerate(lengths):
        ids = sampled(rng, vocabs.student, length)
        stop = STUDENT_STOPS[0] if stop_unit and number % 2 == 0 else None
        num_teacher = len(vocabs.teacher.encode(vocabs.student.decode(ids)).ids)
        sizes = [(length + (stop is not None), H_S), (num_teacher + (stop is not None), H_T)]
        both = [torch.randn(*size, generator=generator, dtype=torch.float64) for size in sizes]
        states = HiddenStates(both[0], heads[0]), HiddenStates(both[1], heads[1])
        parts.append(batch(vocabs, ids, stop, states))
        hidden.append(both[0].requires_grad_())
    attach(objective, heads[0], generator)
    return Case(in_one_group(parts), hidden, heads[0], objective)


def in_one_group(parts: Sequence[AlignedBatch]) -> list[AlignedBatch]:
    """The responses that are not empty as answers to one prompt."""
    groups = ResponseGroups.of([-number if not len(part.student.ids) else 1 for number, part in enumerate(parts)])
    return [replace(part, groups=groups.select([number])) for number, part in enumerate(parts)]


def equal_case(objective: Objective, seed: int = 0, lengths: Sequence[int] = (6, 3, 9)) -> Case:
    """Student and teacher are one model with one vocabulary, and the student's tokens are the teacher's."""
    rng, generator = Random(seed), torch.Generator().manual_seed(seed)
    vocabs = VocabPair(vocab(TEACHER_PIECES), vocab(TEACHER_PIECES), TEACHER_STOPS, TEACHER_STOPS)
    both = head(generator, len(vocabs.teacher), H_T)
    parts, hidden = [], []
    for length in lengths:
        text = bytes(rng.choices(b"ab ", k=length))
        ids = vocabs.teacher.encode(text).ids.tolist()
        rows = torch.randn(len(ids) + 1, H_T, generator=generator, dtype=torch.float64)
        parts.append(batch(vocabs, ids, TEACHER_STOPS[1], (HiddenStates(rows, both), HiddenStates(rows, both))))
        hidden.append(rows.clone().requires_grad_())
    attach(objective, both, generator)
    return Case(in_one_group(parts), hidden, both, objective)
