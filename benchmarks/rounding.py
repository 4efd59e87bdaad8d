"""How much bfloat16 changes a model's log-probabilities: against float32, alone, and after a cached beginning.

    python -m benchmarks.rounding models/smollm2-135m-instruct --output benchmarks/results/rounding.json

Windows of the built-in corpus, 128 tokens each; nats a token. `doctor --teacher` judges servers by such figures.
"""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from transformers import AutoModelForCausalLM, AutoTokenizer

from crossdistill.inspection import corpus
from crossdistill.runs.run_file import write_json

LENGTH, HALF = 128, 64


@torch.no_grad()
def logprobs(model: Any, ids: torch.Tensor, cached: Any = None) -> torch.Tensor:
    """Nats of all tokens but the first, float32 [texts, tokens - 1]."""
    rows = model(input_ids=ids, past_key_values=cached).logits[:, :-1].float().log_softmax(-1)
    return rows.gather(-1, ids[:, 1:, None])[..., 0]


def compared(one: torch.Tensor, other: torch.Tensor) -> dict[str, float]:
    """Mean and largest absolute difference, and how many tokens it is taken of."""
    gaps = (one - other).abs()
    return {"mean_nats": gaps.mean().item(), "most_nats": gaps.max().item(), "tokens": gaps.numel()}


def main(
    model: Annotated[str, typer.Argument(help="A folder or hub id.")],
    texts: Annotated[int, typer.Option(min=2, help="Windows to score.")] = 12,
    output: Annotated[Path | None, typer.Option(help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure one model on this machine."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    text = "\n".join(document.data.decode() for document in corpus())
    step = len(text) // texts
    windows = (text[start * step :][:step] for start in range(texts))
    ids = torch.tensor([tokenizer(window, add_special_tokens=False)["input_ids"][:LENGTH] for window in windows])
    loaded = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    exact = logprobs(loaded, ids)
    loaded = loaded.to(torch.bfloat16)
    rounded = logprobs(loaded, ids)
    with torch.no_grad():
        beginning = loaded(input_ids=ids[:, :HALF], use_cache=True).past_key_values
    figures = {
        "bfloat16 against float32": compared(exact, rounded),
        "alone against in a batch": compared(logprobs(loaded, ids[:1]), rounded[:1]),
        "after a cached beginning": compared(logprobs(loaded, ids[:, HALF:], beginning), rounded[:, HALF:]),
    }
    for name, found in figures.items():
        typer.echo(f"{name}: {found}")
    if output is not None:
        write_json(output, {"command": f"python -m benchmarks.rounding {Path(model).name}", "differences": figures})


if __name__ == "__main__":
    typer.run(main)
