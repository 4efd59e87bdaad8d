"""A response of two models as TRL's trainer sees it and as ours does, with TRL's own losses.

TRL itself computes everything on its side: its options have its defaults, and its functions find the teacher's tokens,
the byte offsets and the groups. Only the models are missing: their states are random or given.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from crossdistill import ByteVocab
from crossdistill.objectives import LossInputs, Objective, VocabPair
from crossdistill.ops import HiddenStates, LMHead
from tests.objectives.cases import batch, head
from tests.tokenizers_in_process import CORPUS, byte_level

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # that it is experimental
    from trl.experimental.gkd.gkd_trainer import GKDTrainer
    from trl.experimental.gold.gold_config import GOLDConfig
    from trl.experimental.gold.gold_trainer import GOLDTrainer, ULDLoss, build_teacher_inputs_from_texts

gkd_loss = GKDTrainer.generalized_jsd_loss
STOP = "<|end|>"
PROMPT = "ask: "
WIDTH = 6


def small() -> PreTrainedTokenizerFast:
    return fast(byte_level(CORPUS[:2], num_merges=40, special=(STOP,), ordinary=()))


def large() -> PreTrainedTokenizerFast:
    return fast(byte_level(num_merges=150, special=(STOP,), ordinary=()))


def fast(backend: Any) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=STOP, pad_token=STOP, clean_up_tokenization_spaces=False
    )


def uld_loss(student: Any, teacher: Any, **options: object) -> ULDLoss:
    """TRL's loss; options that are not named are as in its configuration."""
    config = {field.name: field.default for field in fields(GOLDConfig)}
    return ULDLoss(SimpleNamespace(**{**config, **options}), student, teacher)


def offsets(tokenizer: Any, ids: Sequence[int]) -> Tensor:
    """The byte offsets that TRL's trainer gives the student's sampled tokens: int64 [n, 2]."""
    trainer = SimpleNamespace(
        use_uld_loss=True,
        teacher_tokenizer=tokenizer,
        uld_loss_fn=SimpleNamespace(use_extended_uld=True),
        _tokenizer=tokenizer,
    )
    batch = {"input_ids": torch.tensor([list(ids)]), "labels": torch.tensor([list(ids)])}
    GOLDTrainer._maybe_add_completion_byte_offsets(trainer, batch)
    return batch["byte_offsets"][0]


def teacher_inputs(tokenizer: Any, text: str) -> tuple[Tensor, Tensor, Tensor]:
    """TRL's ids [1, L], labels [1, L] and byte offsets [1, L, 2] of a response, its end included."""
    ids, labels, _, byte_offsets = build_teacher_inputs_from_texts(tokenizer, [PROMPT], [text])
    return ids, labels, byte_offsets


@dataclass
class Response:
    """A response and both models' states.

    Attributes:
        student: the student's tokenizer.
        teacher: the teacher's tokenizer.
        ids: the student's tokens, without a stop.
        stopped: whether the student ended the response itself.
        states: states of every token of prompt and response, [L_S, H] and [L_T, H]; the row before a token predicts it.
        heads: both heads.
    """

    student: Any
    teacher: Any
    ids: list[int]
    stopped: bool
    states: tuple[Tensor, Tensor]
    heads: tuple[LMHead, LMHead]

    @classmethod
    def random(cls, text: str, seed: int = 0, stopped: bool = True, same: bool = False) -> "Response":
        """same: one tokenizer for both."""
        tokenizers = small(), (small() if same else large())
        generator = torch.Generator().manual_seed(seed)
        ids = tokenizers[0](text)["input_ids"]
        lengths = [len(tokenizers[0](PROMPT)["input_ids"]) + len(ids) + stopped]
        lengths.append(teacher_inputs(tokenizers[1], text)[0].shape[1])
        states = [torch.randn(length, WIDTH, generator=generator, dtype=torch.float64) for length in lengths]
        heads = [head(generator, len(tokenizer), WIDTH) for tokenizer in tokenizers]
        return cls(*tokenizers, ids, stopped, (states[0].requires_grad_(), states[1]), (heads[0], heads[1]))

    @property
    def prompt_ids(self) -> list[int]:
        return self.student(PROMPT)["input_ids"]

    @property
    def text(self) -> str:
        return self.student.decode(self.ids)

    def theirs(self, shifted: bool = False, **options: object) -> Tensor:
        """TRL's loss; shifted: of logits that stand in the row of the token that they predict."""
        loss = uld_loss(self.student, self.teacher, **options)
        logits = [head.logits(states)[None] for head, states in zip(self.heads, self.states, strict=True)]
        if shifted:
            logits = [rows.roll(1, 1) for rows in logits]
        response = [*self.ids, *[self.student.eos_token_id] * self.stopped]
        ids = torch.tensor([[*self.prompt_ids, *response]])
        labels = torch.tensor([[*[-100] * len(self.prompt_ids), *response]])
        before = torch.zeros(len(self.prompt_ids), 2, dtype=torch.long)
        byte_offsets = torch.cat([before, offsets(self.student, response)])[None]
        their_ids, their_labels, their_offsets = teacher_inputs(self.teacher, self.text)
        return loss(*logits, labels, their_labels, ids, their_ids, byte_offsets, their_offsets)

    def ours(self, objective: Objective, stop: bool = True) -> Tensor:
        """Our loss for each chunk, as the trainer divides it; stop: whether the end counts."""
        return self._sum(objective, stop and self.stopped)

    def _sum(self, objective: Objective, stop: bool) -> Tensor:
        stop_ids = (self.student.eos_token_id,), (self.teacher.eos_token_id,)
        pair = VocabPair(*map(ByteVocab.from_tokenizer, (self.student, self.teacher)), *stop_ids)
        firsts = [len(tokenizer(PROMPT)["input_ids"]) - 1 for tokenizer in (self.student, self.teacher)]
        counts = [len(self.ids), len(pair.teacher.encode(self.text).ids)]
        rows = [
            HiddenStates(states[first : first + count + stop], head)
            for states, first, count, head in zip(self.states, firsts, counts, self.heads, strict=True)
        ]
        found = batch(pair, self.ids, self.student.eos_token_id if stop else None, (rows[0], rows[1]))
        advantages = objective.advantages(found)
        return objective.loss(LossInputs(found, advantages, rows[0])).total / objective.weight(found)
