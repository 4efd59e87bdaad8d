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
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.arena.spelling import Words, examples, prompt_of
from crossdistill.errors import InputError
from crossdistill.runs.compare import compare_folders
from crossdistill.runs.config import SFTRunConfig
from crossdistill.runs.evaluate import evaluate
from crossdistill.runs.run_file import write_json
from crossdistill.runs.sft import sft

MODELS = (Path("models/smollm2-135m-instruct"), Path("models/gemma-3-270m"))
SHARES = ("start", "expert", "headroom")


@dataclass(frozen=True)
class Training:
    """Sizes and settings of SFT, the same for both models.

    Attributes:
        num_start: worked examples of a start.
        num_expert: worked examples of an expert beside these.
        num_prompts: training prompts of the arena, none of which has been an example.
        batch_size: examples of a step.
        rate: learning rate of both.
        is_bf16: whether matrix products are computed in bfloat16; weights stay in float32.
    """

    num_start: int = 480
    num_expert: int = 1440
    num_prompts: int = 4000
    batch_size: int = 16
    rate: float = 2e-4
    is_bf16: bool = True

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


def prepare(models: Iterable[Path], output: Path, words: Words, training: Training) -> dict[str, Any]:
    """Run the stages that are not finished, and write OUTPUT/headroom.json.

    Args:
        models: folders of the two base models.
        output: folder to write.
        words: what is asked.
        training: sizes and settings.

    Returns:
        The content of headroom.json.

    Raises:
        InputError: bad input, or the folder was prepared with other sizes.
    """
    bases = {model.name: model for model in models}
    write_data(output, words, training)
    for name, base in bases.items():
        start, expert = output / name / "start", output / name / "expert"
        fine_tune(training.config(base, output / "examples.jsonl"), start)
        fine_tune(training.config(start / "model", output / "worked.jsonl"), expert)
        for folder in (start, expert):
            answers = folder.with_name(f"{folder.name}-validation")
            evaluate(str(folder / "model"), [words.held_out("validation")], answers, resume=answers.exists())
    found = {"words": asdict(words), "training": asdict(training), "pairs": headroom(output, list(bases))}
    write_json(output / "headroom.json", found)
    return found


def write_data(output: Path, words: Words, training: Training) -> None:
    """Write the files of examples and prompts, with no word in two of them, unless they are there already.

    Raises:
        InputError: the folder was prepared with other sizes.
    """
    settings, path = {"words": asdict(words), "training": asdict(training)}, output / "settings.json"
    if path.exists():
        if json.loads(path.read_text()) != settings:
            raise InputError(f"{output} was prepared with other sizes ({path}): give these, or name a new folder.")
        return
    sizes = (training.num_start, training.num_expert, training.num_prompts)
    given = iter(words.training(sum(sizes)))
    start, expert, prompts = ([next(given) for _ in range(size)] for size in sizes)
    output.mkdir(parents=True, exist_ok=True)
    for name, rows in (
        ("examples", examples(start)),
        ("worked", examples(expert)),
        ("prompts", ({"prompt": prompt_of(word)} for word in prompts)),
    ):
        (output / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    write_json(path, settings)


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
    shortest: Annotated[int, typer.Option(min=1, help="Letters of the shortest word.")] = Words.shortest,
    longest: Annotated[int, typer.Option(min=1, help="Letters of the longest word.")] = Words.longest,
    num_validation: Annotated[int, typer.Option(min=1, help="Validation problems.")] = Words.num_validation,
    num_start: Annotated[int, typer.Option(min=1, help="Worked examples of a start.")] = Training.num_start,
    num_expert: Annotated[int, typer.Option(min=1, help="Worked examples more of an expert.")] = Training.num_expert,
    num_prompts: Annotated[int, typer.Option(min=1, help="Training prompts.")] = Training.num_prompts,
    batch_size: Annotated[int, typer.Option(min=1, help="Examples of a step.")] = Training.batch_size,
    rate: Annotated[float, typer.Option(help="Learning rate.")] = Training.rate,
    bf16: Annotated[bool, typer.Option(help="Compute matrix products in bfloat16.")] = Training.is_bf16,
) -> None:
    """Prepare arena B: problems, starts, experts, and the proof that there is something to learn."""
    words = Words(shortest, longest, num_validation)
    training = Training(num_start, num_expert, num_prompts, batch_size, rate, bf16)
    try:
        found = prepare(models, output, words, training)
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
