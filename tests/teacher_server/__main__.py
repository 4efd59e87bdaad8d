"""Serve a folder's model until the process is stopped; the first line of output is the server's address.

python -m tests.teacher_server crossdistill/demo/assets/teacher
"""

import signal
import threading
from typing import Annotated

import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.teacher_server import faults, scripts
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.server import TeacherServer
from tests.teacher_server.service import Settings


def main(
    folder: Annotated[str, typer.Argument(help="Folder of a Hugging Face model.")],
    plain: Annotated[bool, typer.Option(help="Only OpenAI's form, without vLLM's fields.")] = False,
    max_logprobs: Annotated[int, typer.Option(help="Most tokens at a position.")] = 20,
    delay_s: Annotated[float, typer.Option(help="Delay of each answer; concurrent requests wait together.")] = 0.0,
) -> None:
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    scorer = Scorer(model, AutoTokenizer.from_pretrained(folder))
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    with TeacherServer(scorer, Settings(vllm=not plain, max_logprobs=max_logprobs, name=folder)) as server:
        if delay_s:
            server.script = scripts.always(faults.delay(delay_s))
        typer.echo(server.url)
        ended.wait()


if __name__ == "__main__":
    typer.run(main)
