"""``crossdistill verl-config``: a run file as a configuration of verl."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.options import Overrides
from crossdistill.extras import require


def command(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="Run file, as for `crossdistill train`.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write.")] = Path("verl-run"),
    gpus: Annotated[int, typer.Option(min=1, help="GPUs of each node.")] = 8,
    nodes: Annotated[int, typer.Option(min=1, help="Machines.")] = 1,
    engine: Annotated[str, typer.Option(help="That samples: vllm or sglang.")] = "vllm",
    overrides: Overrides = [],  # noqa: B006 typer only reads the default
) -> None:
    """Write the configuration and the prompts with which verl makes the run of FILE.toml.

    A setting that verl cannot honour is refused by name. Needs crossdistill[train]; what it writes is read in verl's
    environment, which needs crossdistill[verl].
    """
    require("train")
    from crossdistill.integrations.verl.write import write_config
    from crossdistill.runs.config import RunConfig, read_config
    from crossdistill.runs.quiet import quiet_libraries

    quiet_libraries()
    config = read_config(RunConfig, file, overrides, {})
    launch = write_config(config, output, gpus, nodes, engine)
    console = Console()
    console.print(f"configuration and prompts are in {output}; launch in verl's environment:")
    console.print(shlex.join(launch), soft_wrap=True, highlight=False)
