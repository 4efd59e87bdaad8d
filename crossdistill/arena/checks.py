"""What is checked before the first cell: everything that can be known without weights."""

from pathlib import Path
from typing import Any, cast

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.model_checks import check_models, of
from crossdistill.arena.plan import entrants
from crossdistill.arena.settings import num_responses, responses_of, run_config
from crossdistill.arena.tables import CONTROLS
from crossdistill.arena.task_checks import check_task
from crossdistill.distill.routing import Routing
from crossdistill.errors import InputError
from crossdistill.inspection.model_name import is_url
from crossdistill.inspection.same_model import check_teachers
from crossdistill.objectives import Signal
from crossdistill.runs.config import RunConfig, build
from crossdistill.runs.data import load_rows


def check_arena(arena: ArenaFile) -> None:
    """Check an arena's file against its models and data.

    Raises:
        InputError: a method or setting that no run takes, a method that needs what a teacher cannot give, data or
            models that cannot be read, or splits that overlap.
    """
    for name, table in arena.tasks.items():
        check_task(name, table)
    check_models(arena)
    for pair in arena.pairs:
        for entrant in entrants(arena, pair):
            _check_entrant(arena, pair, entrant)


def _check_entrant(arena: ArenaFile, pair: str, entrant: str) -> None:
    teacher = arena.pairs[pair].teacher
    if entrant == "seqkd" and is_url(teacher):
        raise InputError(
            f"seqkd lets the teacher of {pair!r} write, and {teacher} is a server, which only scores: write its "
            "responses first (crossdistill sft) and take seqkd out of controls, or name its folder."
        )
    cell = Cell(pair, entrant, "tune", arena.rates[0], arena.tuning_seed)
    config, spent, budget = run_config(arena, cell), responses_of(arena, cell), num_responses(arena, pair)
    if spent != budget:
        table = "sft" if entrant in CONTROLS else f"methods.{entrant}.train"
        raise InputError(
            f"[{table}] would train {entrant} on {spent} responses on {pair!r}, and [train] sets {budget} for all: "
            "max_steps * per_device_train_batch_size * gradient_accumulation_steps / num_iterations must be the same."
        )
    if isinstance(config, RunConfig):
        with of(f"the method {entrant!r} on {pair!r}"):
            _check_run(config, f"methods.{entrant}")
    else:
        from crossdistill.runs.sft import sft_arguments

        with of(f"the settings of {entrant}"):
            sft_arguments(Path("unused"), config.train)


def _check_run(config: RunConfig, table: str) -> None:
    """Check what a run would refuse before it reads weights."""
    from crossdistill.train import CrossTokenizerConfig

    args = build(CrossTokenizerConfig, table, {"output_dir": "unused", **config.trainer_arguments()})
    objective, teachers = args.make_objective(), config.named_teachers
    check_teachers(config.student, [teacher.model for teacher in teachers.values()], is_rewarded=bool(args.reward))
    for teacher in teachers.values():
        if objective.signal is Signal.DENSE and is_url(teacher.model):
            raise InputError(
                f"it reads the teacher's whole distribution, which the server {teacher.model} cannot give: name the "
                "teacher's folder, give the objective a top_k if it takes one, or leave the method out."
            )
    rules, weights = (cast(dict[str, Any] | None, value) for value in (args.teacher_rules, args.teacher_weights))
    routing = Routing(tuple(teachers), rules, weights)
    routing.check(load_rows(config.dataset) if len(routing.teaching) > 1 else [], objective)
