"""The work on tokens and bytes beside the least that it can be."""

from functools import cache

import numpy as np
from transformers import AutoTokenizer
from trl.experimental.gold.gold_trainer import ULDLoss

from benchmarks.alignment import Ends, adversarial
from benchmarks.check.case import TIME, Case
from benchmarks.check.measuring import time_ratio
from crossdistill import ByteVocab, align
from crossdistill.demo.run import asset
from crossdistill.demo.task import problems
from crossdistill.paired import PairedTokenization

LONG, SHORT = 16_000, 1_000
RESPONSES = 64


def cases() -> list[Case]:
    """All of this file."""
    return [
        Case("align: time beside the running sums", TIME, _beside_sums),
        Case("align: time beside TRL's aligner", TIME, _beside_gold),
        Case("PairedTokenization: time beside the tokenizer's own encoding", TIME, _beside_encoding),
    ]


@cache
def _ends(tokens: int) -> Ends:
    return adversarial(tokens)["random cuttings"]


def _beside_sums() -> float:
    ends = _ends(LONG)
    lengths = [np.diff(side, prepend=0) for side in ends]
    return time_ratio(lambda: align(*ends), lambda: [np.cumsum(side) for side in lengths])


def _beside_gold() -> float:
    ends = _ends(SHORT)
    offsets = [list(zip([0, *side[:-1].tolist()], side.tolist(), strict=True)) for side in ends]
    return time_ratio(lambda: align(*ends), lambda: ULDLoss._align_by_byte_offsets(*offsets))


def _beside_encoding() -> float:
    student, teacher = (AutoTokenizer.from_pretrained(asset(name)) for name in ("student", "teacher"))
    ours, theirs = (ByteVocab.from_tokenizer(one) for one in (student, teacher))
    texts = [problem.solution for problem in problems("train", RESPONSES, seed=0)]
    rows = [ours.encode(text).ids for text in texts]
    backend = teacher.backend_tokenizer  # text by text, in this thread alone

    def encode() -> None:
        for text in texts:
            backend.encode(text, add_special_tokens=False)

    return time_ratio(lambda: PairedTokenization.of_batch(ours, rows, theirs), encode)
