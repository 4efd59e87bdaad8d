"""``crossdistill eval``: how good a model's answers are."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from crossdistill.cli.names import check_folders, template_kwargs
from crossdistill.cli.options import Output, Resume
from crossdistill.cli.output import print_json
from crossdistill.cli.running import reporting_interruption
from crossdistill.cli.waiting import waiting
from crossdistill.extras import require
from crossdistill.inspection.model_name import is_url

Model = Annotated[
    str, typer.Argument(help="A folder of a model or an adapter, a hub id, or the URL of an OpenAI-compatible server.")
]
Tasks = Annotated[
    list[str],
    typer.Option("--task", "-t", help="A task's name, reasoning_gym:NAME or a file of your own; may be repeated."),
]
Sources = Annotated[
    list[str],
    typer.Option(
        "--source", metavar="TASK=PATH", help="Problems of a task: a file, folder or hub id; may be repeated."
    ),
]
Parameters = Annotated[
    list[str], typer.Option("--param", metavar="NAME=VALUE", help="A parameter of the tasks' own; may be repeated.")
]
Server = Annotated[
    list[str],
    typer.Option("--server", metavar="KEY=VALUE", help="A setting of the server, as max_in_flight=64 or model=NAME."),
]


def command(
    context: typer.Context,
    model: Model,
    task: Tasks = [],  # noqa: B006 typer only reads the defaults
    output: Output = Path("crossdistill-eval"),
    k: Annotated[int | None, typer.Option("--k", min=1, help="Samples of each problem.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0.0, help="0 is greedy.")] = None,
    top_p: Annotated[float | None, typer.Option(help="Probability of the tokens that are sampled from.")] = None,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of a response.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of sampling, of --limit and of whatever a task draws.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="Number of problems, drawn by the seed.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="Tasks and settings of sampling by name: paper. Options override them.")
    ] = None,
    source: Sources = [],  # noqa: B006
    param: Parameters = [],  # noqa: B006
    instruction: Annotated[
        str | None, typer.Option(help="Added to each prompt in place of the task's own; an empty one adds nothing.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system message before each prompt.")] = None,
    template: Annotated[
        str | None, typer.Option("--template-kwargs", metavar="JSON", help="Keyword arguments of the chat template.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="Such as cpu or cuda:1; a GPU if there is one.")] = None,
    dtype: Annotated[str, typer.Option(help="auto (as in the files), float32 or bfloat16.")] = "auto",
    batch_tokens: Annotated[
        int | None, typer.Option(min=1, help="Most tokens of a batch, each response at its limit.")
    ] = None,
    trust_remote_code: Annotated[bool, typer.Option("--trust-remote-code", help="Run the model's own code.")] = False,
    server: Server = [],  # noqa: B006
    sandbox: Annotated[str | None, typer.Option(help="For generated programs: bubblewrap or docker.")] = None,
    unsandboxed: Annotated[
        bool, typer.Option("--unsandboxed", help="Run generated programs without a sandbox; they can do what you can.")
    ] = False,
    harness: Annotated[
        str | None, typer.Option(help="Let lm-eval or evalscope evaluate the model on tasks of its own instead.")
    ] = None,
    harness_args: Annotated[
        str, typer.Option(metavar="TEXT", help="Further arguments of the harness, as on its own command line.")
    ] = "",
    harness_python: Annotated[
        str | None, typer.Option(metavar="PYTHON", help="Of the environment that has the harness; by default this one.")
    ] = None,
    resume: Resume = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors and warnings.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the content of eval.json, for programs.")] = False,
) -> None:
    """Evaluate a model on tasks with answers that can be checked.

    Samples each problem k times, grades the responses, and prints accuracy with 95 % intervals over problems. Writes
    one graded sample a line to samples/ in the output folder as they come, so that a stopped evaluation can be resumed,
    and the scores to eval.json.
    """
    require("train", user="eval")
    require("eval", "filelock", "scipy", user="eval")
    check_folders(*([] if is_url(model) else [model]))
    with waiting("loading libraries", quiet or as_json):
        from crossdistill.cli.evaluation import plan, server_options, values_of
        from crossdistill.eval.generation.local import BATCH_TOKENS
        from crossdistill.eval.task import TaskOptions
        from crossdistill.runs.evaluate import evaluate
        from crossdistill.runs.evaluated_model import ModelOptions
        from crossdistill.runs.interrupt import interrupted_by_signals
        from crossdistill.runs.quiet import quiet_libraries

    if harness is not None:
        from crossdistill.cli.harness import evaluate_by_harness, print_harness
        from crossdistill.integrations.harness.base import HarnessRequest

        request = HarnessRequest(
            model,
            tuple(task),
            output,
            limit,
            seed,
            device,
            dtype,
            trust_remote_code,
            python=harness_python or sys.executable,
        )
        with reporting_interruption(output, "run the harness again."), interrupted_by_signals():
            run = evaluate_by_harness(context, harness, harness_args, request, output, quiet or as_json)
        if as_json:
            print_json([run])
        elif not quiet:
            print_harness(Console(), run, harness)
        return
    given = {"k": k, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens}
    sampling = {
        **{name: value for name, value in given.items() if value is not None},
        **{"seed": seed, "system": system, "template_kwargs": template_kwargs(template, "--template-kwargs")},
    }
    options = TaskOptions(
        limit=limit,
        seed=seed,
        instruction=instruction,
        parameters=values_of(param),
        unsandboxed=unsandboxed,
        sandbox=sandbox,
    )
    loading = ModelOptions(device, dtype, batch_tokens or BATCH_TOKENS, trust_remote_code)
    quiet_libraries()  # a task may read its problems by one
    planned = plan(task, preset, sampling, options, values_of(source))
    with reporting_interruption(output, "--resume continues with the samples that it has."), interrupted_by_signals():
        run = evaluate(
            model,
            planned,
            output,
            model_options=loading,
            server=server_options(server),
            resume=resume,
            is_quiet=quiet or as_json,
        )
    if as_json:
        print_json([run])
    elif not quiet:
        from crossdistill.report.evaluation.terminal import print_evaluation

        print_evaluation(Console(), run)
