"""``crossdistill export``: the model of a run as a folder that others load."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.running import reporting_interruption
from crossdistill.cli.waiting import waiting
from crossdistill.extras import require


def command(
    run: Annotated[
        Path,
        typer.Argument(metavar="RUN", help="Folder of a run, of a trainer, of a model or of an adapter."),
    ],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write; must be new or empty.")],
    checkpoint: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            help="Step of the checkpoint; by default the final model, or the newest checkpoint of an unfinished run.",
        ),
    ] = None,
    merge: Annotated[bool, typer.Option("--merge", help="Merge an adapter into its base model.")] = False,
    base: Annotated[
        str | None,
        typer.Option(metavar="MODEL", help="Base model of an adapter, in place of the one that it names."),
    ] = None,
    dtype: Annotated[
        str, typer.Option(help="Of the weights: auto (as in the files of the base), float32, bfloat16 or float16.")
    ] = "auto",
    shard_size: Annotated[str, typer.Option(metavar="SIZE", help="Most bytes of a file of weights.")] = "5GB",
) -> None:
    """Write the model of a run as a folder that transformers, vLLM and lm-eval load.

    With weights, configuration, tokenizer, chat template, generation defaults and the model card. A run that trained an
    adapter gives the adapter, or with --merge the whole model. The folder is written whole or not at all.
    """
    require("train")
    with waiting("exporting"), reporting_interruption(output, way_out="nothing was written"):
        from crossdistill.runs.export import Export, export

        said = export(Export(run, output, checkpoint, merge, base, dtype, shard_size))
    console = Console()
    for sentence in said:
        console.print(sentence, markup=False, soft_wrap=True, highlight=False)
    console.print(f"exported to {output}", markup=False, soft_wrap=True, highlight=False)
