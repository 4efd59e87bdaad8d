"""Seconds that an evaluation's responses take, here and in lm-evaluation-harness: same model, prompts and limit.

OMP_NUM_THREADS=1 python benchmarks/eval_throughput.py ours MODEL PROMPTS.jsonl --output ours.json
OMP_NUM_THREADS=1 LM_EVAL_ENV/bin/python benchmarks/eval_throughput.py lm-eval MODEL PROMPTS.jsonl --output theirs.json

PROMPTS.jsonl has a `question` (or `prompt`) a line. The second command needs an environment with `lm-eval[hf]` and
`typer`. Both read prompts that the model's chat template renders, and decode greedily. The weights are loaded before
the clock starts. Beside the wall clock, which other programs disturb, stand the seconds of the processor.
"""

import json
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

app = typer.Typer(add_completion=False)
Model = Annotated[str, typer.Argument(help="A folder or a hub id.")]
Prompts = Annotated[Path, typer.Argument(help="A JSONL file with a question or prompt a line.")]
Limit = Annotated[int, typer.Option(help="Prompts to answer.")]
MaxTokens = Annotated[int, typer.Option(help="Most tokens of a response.")]
Output = Annotated[Path | None, typer.Option(help="Where to write the figures and the responses.")]


@app.command()
def ours(
    model: Model,
    prompts: Prompts,
    limit: Limit = 32,
    max_tokens: MaxTokens = 256,
    batch_tokens: Annotated[int, typer.Option(help="As --batch-tokens of crossdistill eval.")] = 32_768,
    output: Output = None,
) -> None:
    """By ``crossdistill eval``'s own generation."""
    from crossdistill.eval.generation import LocalGenerator, Wanted
    from crossdistill.eval.problem import Problem
    from crossdistill.eval.sampling import Sampling

    loaded, tokenizer = _loaded(model)
    generator = LocalGenerator(loaded, tokenizer, batch_tokens)
    problems = [Problem(str(k), question, None) for k, question in enumerate(_questions(prompts, limit))]

    def write() -> list[str]:
        written = generator.write([Wanted(problem, 0) for problem in problems], Sampling(max_tokens=max_tokens))
        found = {one.wanted.problem.id: one.response for one in written}
        return [found[problem.id] for problem in problems]

    _measure("crossdistill", write, tokenizer, output)


@app.command()
def lm_eval(
    model: Model,
    prompts: Prompts,
    limit: Limit = 32,
    max_tokens: MaxTokens = 256,
    batch_size: Annotated[int, typer.Option(help="Prompts of a batch.")] = 32,
    output: Output = None,
) -> None:
    """By lm-evaluation-harness' hf back-end."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    loaded, tokenizer = _loaded(model)
    back_end = HFLM(pretrained=loaded, tokenizer=tokenizer, batch_size=batch_size)
    settings = {"until": [], "max_gen_toks": max_tokens, "do_sample": False}
    requests = [
        Instance("generate_until", {}, (_rendered(tokenizer, question), settings), k)
        for k, question in enumerate(_questions(prompts, limit))
    ]
    _measure("lm_eval", lambda: back_end.generate_until(requests, disable_tqdm=True), tokenizer, output)


def _loaded(model: str) -> tuple[Any, Any]:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
    return AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval(), tokenizer


def _questions(path: Path, limit: int) -> list[str]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [row.get("question") or row["prompt"] for row in rows[:limit]]


def _rendered(tokenizer: Any, question: str) -> str:
    messages = [{"role": "user", "content": question}]
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


def _measure(package: str, write: Callable[[], list[str]], tokenizer: Any, output: Path | None) -> None:
    """Write responses once, and say what it took. Tokens are counted in their texts, by the same rule for both."""
    wall, processor = time.perf_counter(), time.process_time()
    responses = write()
    figures = {
        "by": f"{package} {metadata.version(package)}",
        "responses": len(responses),
        "text_tokens": sum(len(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in responses),
        "wall_s": round(time.perf_counter() - wall, 1),
        "processor_s": round(time.process_time() - processor, 1),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))
    if output is not None:
        output.write_text(json.dumps({**figures, "texts": responses}, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    app()
