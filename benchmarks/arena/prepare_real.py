"""Everything that arena B needs before its runs: problems, two starts and two experts, and the proof of headroom.

make real-models && python -m benchmarks.arena.prepare_real --output runs/arena-real

From each of two base models, SFT on a few worked examples makes a start, and SFT continued on more of them makes an
expert. Each expert then teaches the other model's start, across the tokenizers, and its own model's start as a control.
A finished stage is not repeated, and an interrupted one is continued, so the command may be given again.

OUTPUT/prompts.jsonl, examples.jsonl   training prompts, and the worked examples that the starts have seen
OUTPUT/MODEL/start, MODEL/expert       runs of SFT, with their model/
OUTPUT/MODEL/start-validation, ...     their answers to the validation problems
OUTPUT/headroom.json                   the paired comparison of each expert with each start
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.arena.rare_words import SortWords, draw, example, prompt_of
from crossdistill.cli.running import reporting_interruption
from crossdistill.errors import InputError
from crossdistill.eval.task import TaskOptions
from crossdistill.runs.compare import compare_folders
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.evaluate import evaluate
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.runs.run_file import write_json
from crossdistill.runs.sft import sft
from crossdistill.train.preflight.device import multiplies_bfloat16

MODELS = (Path("models/smollm2-135m-instruct"), Path("models/gemma-3-270m"))
SHARES = ("start", "expert", "headroom")


@dataclass(frozen=True)
class Sizes:
    """Sizes and settings, the same for both models.

    Attributes:
        num_words: of a problem.
        num_validation: validation problems by which headroom is proven.
        num_start: worked examples of a start.
        num_expert: worked examples of an expert beside these.
        num_prompts: training prompts of the arena.
        batch_size: examples of a step.
        rate: learning rate of both.
        is_bf16: whether matrix products are computed in bfloat16; weights stay in float32.
    """

    num_words: int = 3
    num_validation: int = 200
    num_start: int = 320
    num_expert: int = 1280
    num_prompts: int = 4000
    batch_size: int = 16
    rate: float = 2e-4
    is_bf16: bool = field(default_factory=lambda: torch.cuda.is_available() or multiplies_bfloat16())

    @property
    def validation(self) -> PlannedTask:
        """The validation problems, ready to be evaluated."""
        parameters = {"split": "validation", "size": self.num_validation, "num_words": self.num_words}
        return PlannedTask.of(SortWords(), TaskOptions(parameters=parameters), SortWords.sampling)

    def config(self, student: Path, dataset: Path) -> SFTRunConfig:
        """One epoch of SFT."""
        train = {
            "num_train_epochs": 1,
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.rate,
            "lr_scheduler_type": "linear",
            "warmup_steps": 5,
            "bf16": self.is_bf16,
            "use_cpu": not torch.cuda.is_available(),
            "gradient_checkpointing": False,
            "save_strategy": "no",  # a signal leaves a checkpoint
            "logging_steps": 5,
        }
        return SFTRunConfig(student=str(student), dataset=str(dataset), train=train)


def prepare(models: Iterable[Path], output: Path, sizes: Sizes) -> dict[str, Any]:
    """Run the stages that are not finished, and write OUTPUT/headroom.json.

    Args:
        models: folders of the two base models.
        output: folder to write.
        sizes: and settings.

    Returns:
        The content of headroom.json.

    Raises:
        InputError: bad input, two folders of one name, or the folder was prepared with other sizes.
    """
    given = list(models)
    bases = {model.name: model for model in given}
    if len(bases) < max(2, len(given)):
        raise InputError(f"name two models in folders of different names, not {', '.join(map(str, given))}.")
    write_data(output, sizes)
    for name, base in bases.items():
        start, expert = output / name / "start", output / name / "expert"
        fine_tune(sizes.config(base, output / "examples.jsonl"), start)
        fine_tune(sizes.config(start / "model", output / "worked.jsonl"), expert)
        for folder in (start, expert):
            answers = folder.with_name(f"{folder.name}-validation")
            evaluate(str(folder / "model"), [sizes.validation], answers, resume=answers.exists())
    found = {"sizes": asdict(sizes), "pairs": headroom(output, list(bases))}
    write_json(output / "headroom.json", found)
    return found


def write_data(output: Path, sizes: Sizes) -> None:
    """Write the files of examples and prompts, unless they are there already.

    Raises:
        InputError: the folder was prepared with other sizes.
    """
    path = output / "sizes.json"
    if path.exists():
        if json.loads(path.read_text()) != asdict(sizes):
            raise InputError(f"{output} was prepared with other sizes ({path}): give these, or name a new folder.")
        return
    given = draw("examples", sizes.num_start + sizes.num_expert, sizes.num_words)
    prompts = draw("prompts", sizes.num_prompts, sizes.num_words)
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("examples", map(example, given[: sizes.num_start])),
        ("worked", map(example, given[sizes.num_start :])),
        ("prompts", ({"prompt": prompt_of(words)} for words in prompts)),
    ):
        (output / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(path, asdict(sizes))


def fine_tune(config: SFTRunConfig, output: Path) -> None:
    """SFT into a folder: anew, continued, or not at all if it is finished."""
    if not (output / "run.json").exists():
        sft(config, output, resume=(output / "config.json").exists())


def headroom(output: Path, names: list[str]) -> list[dict[str, Any]]:
    """Each expert against each start, paired over the validation problems.

    Args:
        output: folder in which they have been evaluated.
        names: of the base models.
    """
    rows = []
    for student, teacher in product(names, names):
        start, expert = output / student / "start-validation", output / teacher / "expert-validation"
        (found,) = compare_folders([start, expert], baseline=start, teacher=expert)
        accuracies = {"start": found.rows[0].accuracy.as_dict(), "expert": found.rows[1].accuracy.as_dict()}
        gap = found.headroom.as_dict() if found.headroom is not None else None
        rows.append({"student": student, "teacher": teacher, **accuracies, "headroom": gap, "is": found.has_headroom})
    return rows


def show(pairs: list[dict[str, Any]]) -> Table:
    """The pairs, with 95 % intervals."""
    table = Table("student", "teacher", "start", "expert", "headroom", "p")
    for pair in pairs:
        shares = (f"{one['mean']:.1%} ({one['ci'][0]:.1%} - {one['ci'][1]:.1%})" for one in map(pair.get, SHARES))
        table.add_row(pair["student"], pair["teacher"], *shares, f"{pair['headroom']['p_value']:.1g}")
    return table


def main(
    models: Annotated[list[Path], typer.Argument(help="Folders of two base models.")] = list(MODELS),  # noqa: B006
    output: Annotated[Path, typer.Option(help="Folder to write; a started one is continued.")] = Path(
        "runs/arena-real"
    ),
    num_words: Annotated[int, typer.Option(min=2, help="Words of a problem.")] = Sizes.num_words,
    num_validation: Annotated[int, typer.Option(min=1, help="Validation problems.")] = Sizes.num_validation,
    num_start: Annotated[int, typer.Option(min=1, help="Worked examples of a start.")] = Sizes.num_start,
    num_expert: Annotated[int, typer.Option(min=1, help="Worked examples more of an expert.")] = Sizes.num_expert,
    num_prompts: Annotated[int, typer.Option(min=1, help="Training prompts.")] = Sizes.num_prompts,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of a step.")] = Sizes.batch_size,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = Sizes.rate,
    bf16: Annotated[bool, typer.Option(help="Compute matrix products in bfloat16.")] = Sizes().is_bf16,
) -> None:
    """Prepare arena B: problems, starts, experts, and the proof that there is something to learn."""
    sizes = Sizes(num_words, num_validation, num_start, num_expert, num_prompts, batch_size, rate, bf16)
    try:
        with reporting_interruption(output, "give the command again to continue it."):
            found = prepare(models, output, sizes)
    except InputError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(code=1) from None
    Console().print(show(found["pairs"]))
    lacking = [f"{pair['student']} under {pair['teacher']}" for pair in found["pairs"] if not pair["is"]]
    if lacking:
        typer.echo(f"Error: no headroom for {', '.join(lacking)}: give the expert more examples.", err=True)
        raise typer.Exit(code=1)


if __name__ == "__main__":
    typer.run(main)
