"""``crossdistill demo``: a whole distillation on two tiny models that come with the package."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from crossdistill.cli.options import Output
from crossdistill.cli.running import reporting_interruption
from crossdistill.extras import require


def command(
    output: Output = Path("crossdistill-demo"),
    seed: Annotated[
        int, typer.Option(help="Seed of rollouts, prompts and data order; the test problems are fixed.")
    ] = 0,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Optimisation steps; the default takes a few minutes.")
    ] = None,
    two_teachers: Annotated[
        bool, typer.Option("--two-teachers", help="Two teachers with different tokenizers share the problems.")
    ] = False,
) -> None:
    """Watch a student improve under a teacher with another tokenizer. No network, no downloads.

    Runs on-policy distillation, then the control: SFT continued on the student's own few examples for as many student
    tokens. Prints before, after, control and teacher with 95 % intervals, and writes run.json and report.html.
    """
    require("train")
    require("eval", "filelock", "scipy")
    os.environ["HF_HUB_OFFLINE"] = "1"  # set before the libraries read it; everything comes with the package
    from crossdistill.demo.run import DEFAULTS, run_demo

    with reporting_interruption(output, "start it again in a new folder"):
        run_demo(output, seed, DEFAULTS if steps is None else replace(DEFAULTS, steps=steps), two_teachers)
