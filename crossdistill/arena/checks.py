"""What is checked before the first cell: everything that can be known without weights."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from crossdistill.arena.cell import Cell
from crossdistill.arena.file import CONTROLS, ArenaFile
from crossdistill.arena.outcome import MOST_SAMPLES
from crossdistill.arena.plan import entrants
from crossdistill.arena.settings import num_responses, responses_of, run_config
from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.inspection.model_files import check_pair, vocab_size
from crossdistill.inspection.model_name import is_url
from crossdistill.objectives import Signal
from crossdistill.runs.config import RunConfig, build
from crossdistill.runs.data import load_rows
from crossdistill.runs.held_out import prompt_text, read_tasks
from crossdistill.tokens import ByteVocab
from crossdistill.train.preflight.tokenizers import load_tokenizer


def check_arena(arena: ArenaFile) -> None:
    """Check an arena's file against its models and data.

    Raises:
        InputError: a method or setting that no run takes, a method that needs what a teacher cannot give, data that
            cannot be read, or splits that overlap.
    """
    for name in arena.tasks:
        _check_task(arena, name)
    for pair, table in arena.pairs.items():
        check_pair(table.student, table.teacher)
        for entrant in entrants(arena, pair):
            _check_entrant(arena, pair, entrant)


def _check_task(arena: ArenaFile, name: str) -> None:
    table = arena.tasks[name]
    if table.unrelated is not None and not Path(table.unrelated).is_file():
        raise InputError(
            f"[tasks.{name}] unrelated: there is no file {table.unrelated}: give a text file, or leave it out."
        )
    for key, problems in (("validation", table.validation), ("test", table.test)):
        if problems.task is None and problems.source is None:
            raise InputError(f"[tasks.{name}.{key}] names no problems: set task or source.")
    splits = read_tasks({"validation": table.validation, "test": table.test}, {})
    for held in splits:
        if held.sampling.k > MOST_SAMPLES:
            raise InputError(
                f"[tasks.{name}.{held.task.name}] asks for {held.sampling.k} samples of each problem: at most "
                f"{MOST_SAMPLES} are recorded; set k, and take more problems or seeds instead."
            )
    texts = {held.task.name: {_text(problem) for problem in held.problems} for held in splits}
    rows = load_rows(table.prompts, columns={"prompt": "prompt"})
    if table.examples is not None:
        load_rows(table.examples, columns={"prompt": "prompt", "completion": "completion"})
    seen = {prompt_text(prompt) for prompt in rows["prompt"]}
    overlaps = {
        "validation and test": texts["validation"] & texts["test"],
        "the training prompts and validation": seen & texts["validation"],
        "the training prompts and test": seen & texts["test"],
    }
    for what, common in overlaps.items():
        if common:
            raise InputError(
                f"[tasks.{name}] {what} have {len(common)} problems in common, such as {min(common)[:60]!r}: take them "
                "out of one, or what is learnt by heart passes for skill."
            )


def _text(problem: Problem) -> str:
    return prompt_text(problem.prompt)


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
            "leave max_steps as it is there, and the product of per_device_train_batch_size and "
            "gradient_accumulation_steps."
        )
    if not isinstance(config, RunConfig):
        return
    if entrant == "same_tokenizer":
        _check_same_tokenizer(arena, pair)
    from crossdistill.train import CrossTokenizerConfig

    args = build(CrossTokenizerConfig, f"methods.{entrant}", {"output_dir": "unused", **config.trainer_arguments()})
    needed = args.make_objective().signal
    if needed is Signal.DENSE and is_url(teacher):
        raise InputError(
            f"the method {entrant!r} reads the teacher's whole distribution, which the server of {pair!r} "
            f"({teacher}) cannot give: name the teacher's folder, give the objective a top_k if it takes one, or leave "
            "the method out."
        )


def _check_same_tokenizer(arena: ArenaFile, pair: str) -> None:
    student, teacher = arena.pairs[pair].student, arena.pairs[pair].same_tokenizer_teacher
    if teacher is None or is_url(teacher):  # a server's tokenizer is checked as the run begins
        return
    ours, theirs = _pieces(student), _pieces(teacher)
    other = next((number for number, (one, its) in enumerate(zip(ours, theirs, strict=False)) if one != its), None)
    if other is not None:
        raise InputError(
            f"[pairs.{pair}] same_tokenizer_teacher {teacher} has another tokenizer than the student: id {other} is "
            f"{ours[other]!r} to the student and {theirs[other]!r} to it; name a teacher of the student's family, or "
            "leave it out."
        )


@cache
def _pieces(model: str) -> Sequence[bytes]:
    """The bytes of each id of a model's tokenizer."""
    return ByteVocab.from_tokenizer(load_tokenizer(model, "model"), vocab_size(model)).pieces
