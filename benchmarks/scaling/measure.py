"""What is measured on this machine: bytes of a teacher's answer a token, and seconds of alignment and credit a token.

OMP_NUM_THREADS=1 python -m benchmarks.scaling.measure

The bytes are those of a server that answers as vLLM does, to the requests of a ServedTeacher. The seconds are those of
`Distiller.score` under a teacher that answers at once: rendering, encoding, alignment and credit, on one core.
"""

import json
import time
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from transformers import AutoTokenizer

from benchmarks.scaling.studies import RESULTS
from crossdistill.distill import Distiller
from crossdistill.runs.run_file import write_json
from crossdistill.signal import Signal
from crossdistill.teachers import Teacher, TeacherRequest, TeacherScore
from crossdistill.tokens import ByteVocab
from tests.teacher_server.cases import tokenizer_of
from tests.teacher_server.serving import TOKENS, serving

ASSETS = Path(str(files("crossdistill.demo") / "assets"))
TEXT = "four hundred and one hundred thirty and eleven is five hundred forty-one\n"


class Ready(Teacher):
    """Answers at once."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.vocab = tokenizer, ByteVocab.from_tokenizer(tokenizer)
        self.stop_ids = (tokenizer.eos_token_id,)

    def score(self, requests: Sequence[TeacherRequest], signal: Any = Signal.SAMPLED, top_k: int = 0) -> list[Any]:
        return [
            TeacherScore(np.full(len(one.response_ids), -0.5, np.float32), -0.5 if one.stopped else None)
            for one in requests
        ]


def answer_bytes(top_k: int, tokens: int = 96, count: int = 4) -> float:
    """Bytes of a teacher's answer, and of nothing else, for each token of prompt and response."""
    ids = tokenizer_of(TOKENS)(TEXT * 20, add_special_tokens=False)["input_ids"]
    requests = [TeacherRequest(ids[:8], ids[8 + k : 8 + k + tokens], stopped=False) for k in range(count)]
    with serving(kind="vllm") as (teacher, _):
        before = teacher.traffic.received_bytes
        teacher.score(requests, Signal.TOPK if top_k else Signal.SAMPLED, top_k)
        received = teacher.traffic.received_bytes - before
    return received / (count * (8 + tokens))


def sampled_bytes() -> float:
    """Bytes of an engine's answer for each sampled token: its id, and its log-probability in vLLM's form."""
    one = {"token_ids": 128255, "tokens": "Ġthe", "token_logprobs": -0.12345678901234567, "text_offset": 12345}
    top = {"top_logprobs": {"Ġthe": -0.12345678901234567}}
    return float(len(json.dumps([*one.values()])) + len(json.dumps([*top.values()])) + len(" the"))


def host_seconds(responses: int = 16, lines: int = 64) -> float:
    """Seconds of `Distiller.score` for each sampled token, beside the teacher's own."""
    student = AutoTokenizer.from_pretrained(ASSETS / "student")
    distiller = Distiller(student, Ready(AutoTokenizer.from_pretrained(ASSETS / "teacher")))
    ids = [*distiller.vocab.encode(TEXT * lines).ids.tolist(), student.eos_token_id]
    arguments = [TEXT] * responses, [ids] * responses, [[-0.5] * len(ids)] * responses
    distiller.score(*arguments)
    began = time.perf_counter()
    distiller.score(*arguments)
    return (time.perf_counter() - began) / (responses * len(ids))


def main(output: Annotated[Path, typer.Option()] = RESULTS / "scaling_measured.json") -> None:
    """Measure, and write the figures."""
    torch.set_num_threads(1)
    write_json(
        output,
        {
            "command": "OMP_NUM_THREADS=1 python -m benchmarks.scaling.measure",
            "answer_bytes": {str(k): answer_bytes(k) for k in (0, 16)},
            "sampled_bytes": sampled_bytes(),
            "host_seconds": min(host_seconds() for _ in range(3)),
        },
    )


if __name__ == "__main__":
    typer.run(main)
