"""Cost of a server's answer to one sample: its bytes, the time to parse it, and what of it is kept.

    python -m benchmarks.served_answers --output benchmarks/results/served_answers.json

An answer in vLLM's form has a row for each token, the prompt's too: no field of a request leaves them out. Compared in
one process, in processor time: reading all rows, and reading those of the response alone as a run does.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from crossdistill.runs.run_file import write_json
from crossdistill.teachers.served.api.vllm import Vllm
from crossdistill.teachers.served.packing import pack

VOCABULARY = 151_936


def answer(num_tokens: int, top_k: int) -> tuple[list[int], bytes]:
    """Random ids, and an answer that scores them, as vLLM writes it."""
    rng = np.random.default_rng(0)
    ids = rng.integers(VOCABULARY, size=num_tokens).tolist()
    rows: list[dict[str, Any] | None] = [None]
    for token in ids[1:]:
        others = rng.choice(VOCABULARY, top_k, replace=False).tolist()
        values = np.log(rng.dirichlet(np.ones(top_k + 2))[: top_k + 1])
        pairs = zip(dict.fromkeys([token, *others]), sorted(values.tolist(), reverse=True), strict=False)
        rows.append(
            {
                str(key): {"logprob": value, "rank": j + 1, "decoded_token": " word"}
                for j, (key, value) in enumerate(pairs)
            }
        )
    return ids, json.dumps({"choices": [{"index": 0, "prompt_logprobs": rows}]}, separators=(",", ":")).encode()


def seconds(work: Callable[[], Any], repeats: int) -> float:
    """Processor time of the fastest of some calls."""
    best = float("inf")
    for _ in range(repeats):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


def figures(prompt_tokens: int, response_tokens: int, top_k: int, repeats: int) -> dict[str, Any]:
    """Bytes and seconds of one answer."""
    ids, content = answer(prompt_tokens + response_tokens, top_k)
    dialect, first = Vllm(VOCABULARY), prompt_tokens - 1
    parsed = json.loads(content)
    return {
        "prompt_tokens": prompt_tokens,
        "response_tokens": response_tokens,
        "top_k": top_k,
        "answer_bytes": len(content),
        "seconds": {
            "json": seconds(lambda: json.loads(content), repeats),
            "all rows": seconds(lambda: dialect.read(parsed, ids, top_k), repeats),
            "response's rows": seconds(lambda: dialect.read_from(parsed, ids, top_k, first), repeats),
        },
        "kept_bytes": {
            "all rows": len(pack(b"", dialect.read(parsed, ids, top_k))),
            "response's rows": len(pack(b"", dialect.read_from(parsed, ids, top_k, first))),
        },
    }


def main(
    prompt_tokens: Annotated[int, typer.Option(min=1)] = 1024,
    response_tokens: Annotated[int, typer.Option(min=1)] = 256,
    repeats: Annotated[int, typer.Option(min=1, help="Calls of which the fastest counts.")] = 5,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure answers with 0, 20 and 64 most probable tokens at each position."""
    found = [figures(prompt_tokens, response_tokens, top_k, repeats) for top_k in (0, 20, 64)]
    table = Table(
        "top k", "answer, KiB", "JSON, ms", "all rows, ms", "response, ms", "kept of all, KiB", "of the response"
    )
    for one in found:
        times, kept = one["seconds"].values(), one["kept_bytes"].values()
        row = [one["answer_bytes"] / 1024, *(1000 * value for value in times), *(value / 1024 for value in kept)]
        table.add_row(str(one["top_k"]), *(f"{value:,.1f}" for value in row))
    Console().print(table)
    if output is not None:
        write_json(output, {"command": "python -m benchmarks.served_answers", "answers": found})


if __name__ == "__main__":
    typer.run(main)
