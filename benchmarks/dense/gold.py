"""TRL's ULDLoss with the inputs that its trainer gives it, from the same hidden states as ours.

A sequence is one token of a prompt, the response and the end of the sequence; sequences are padded to the longest. The
logits of all of it are made in the models' dtype as [B, T, V], the teacher's without gradient. Labels are -100 on the
prompt and on padding; byte offsets are those of the tokens, (length, length) at the teacher's end of sequence. Options
are GOLDConfig's defaults, so that the ends of the sequences are skipped; "plain" is without the vocabulary map.
"""

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import linear
from trl.experimental.gold.gold_config import GOLDConfig
from trl.experimental.gold.gold_trainer import ULDLoss

from benchmarks.dense.case import Case, World
from crossdistill import ByteVocab
from crossdistill.ops import HiddenStates

IGNORED = -100


class NamedVocab:
    """A tokenizer as ULDLoss sees it: a name for each id, equal on both sides if the bytes are."""

    def __init__(self, vocab: ByteVocab):
        pieces = enumerate(vocab.pieces)
        self._ids = {(piece.decode("latin-1") if piece else f"<{token_id}>"): token_id for token_id, piece in pieces}

    def get_vocab(self) -> dict[str, int]:
        return self._ids


def loss_function(world: World, hybrid: bool) -> ULDLoss:
    tokenizers = (
        world.tokenizers if world.setting.student else [*map(NamedVocab, (world.pair.student, world.pair.teacher))]
    )
    with tempfile.TemporaryDirectory() as folder:
        on_cpu = world.setting.device == "cpu"
        config = GOLDConfig(
            output_dir=folder,
            use_uld_loss=True,
            uld_use_hybrid_loss=hybrid,
            use_cpu=on_cpu,
            bf16=False,
            report_to="none",
        )
        return ULDLoss(config, *tokenizers, device=torch.device(world.setting.device))


class GoldInputs:
    """The arguments of the loss, except for the logits: [B, T] on each side."""

    def __init__(self, case: Case, world: World):
        self._case = case
        pair, device = world.pair, case.student.hidden.device
        sides = (pair.student, pair.student_stops[0]), (pair.teacher, pair.teacher_stops[0])
        self._rows: list[Tensor] = []
        self._arguments: dict[str, Tensor] = {}
        for name, number, (vocab, stop) in zip(("student", "teacher"), (0, 1), sides, strict=True):
            ids = [response[number] for response in case.responses]
            width = max(map(len, ids)) + 2
            starts = np.cumsum([0, *(len(row) + 1 for row in ids)])
            ends = [vocab.ends(row).tolist() for row in ids]
            offsets = [[*zip([0, *end[:-1]], end, strict=True), (end[-1], end[-1])] for end in ends]
            full = [[stop, *row, stop] for row in ids]
            labels = [[IGNORED, *row, stop] for row in ids]
            rows = [[*range(start, start + len(row) + 1)] for start, row in zip(starts, ids, strict=False)]
            made = {
                f"{name}_input_ids": _padded(full, width, stop),
                f"{name}_labels": _padded(labels, width, IGNORED),
                f"{name}_byte_offsets": _padded([[(0, 0), *row] for row in offsets], width, (0, 0)),
            }
            self._arguments |= {key: torch.tensor(value, device=device) for key, value in made.items()}
            self._rows.append(torch.tensor(_padded(rows, width, 0), device=device))

    def loss(self, function: ULDLoss) -> Tensor:
        student = _logits(self._case.student, self._rows[0])
        with torch.no_grad():
            teacher = _logits(self._case.batch.teacher.dense, self._rows[1])
        value: Tensor = function(student_logits=student, teacher_logits=teacher, **self._arguments)
        return value


def _logits(states: HiddenStates, rows: Tensor) -> Tensor:
    """[B, T, V], in the model's dtype."""
    return linear(states.hidden[rows], states.head.weight)


def _padded(rows: Sequence[Sequence[Any]], width: int, filling: Any) -> list[list[Any]]:
    return [[*row, *[filling] * (width - len(row))] for row in rows]
