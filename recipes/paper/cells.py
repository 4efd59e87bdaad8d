"""The cells of the recipe: a method on a pair under a seed, and the commands that fill one."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from crossdistill.errors import InputError
from crossdistill.runs.evaluated import EVALUATION_FILE
from recipes.paper.settings import FOLDER, Pair, Settings
from recipes.paper.stage import Stage

COMMAND = "python -m recipes.paper run"


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes:
        label: in tables.
        command: that trains.
        file: its run file.
        data: file of the pair's data that it reads, without suffix.
        sets: further settings, as ``--set`` takes them.
        is_published: whether the paper has it.
    """

    label: str
    command: Literal["sft", "train", "verl"]
    file: str
    data: Literal["sft", "given", "prompts"]
    sets: tuple[str, ...] = ()
    is_published: bool = True


SFT = "sft"
METHODS = {
    SFT: Method("+ SFT", "sft", "sft.toml", "sft"),
    "alm": Method("+ SFT + ALM", "train", "match.toml", "given", ("objective=alm",)),
    "cdm": Method("+ SFT + CDM", "train", "match.toml", "given", ("objective=cdm",)),
    "opd": Method("+ SFT + OPD", "train", "opd.toml", "prompts"),
    "opd-verl": Method(
        "+ SFT + OPD (verl)",
        "verl",
        "opd.toml",
        "prompts",
        ("train.vllm_enable_sleep_mode=false",),  # its own sampler always sleeps
        is_published=False,
    ),
    "sft-more": Method("+ SFT, continued", "sft", "sft.toml", "given", is_published=False),
    "seqkd": Method(
        "+ SFT + SeqKD", "sft", "sft.toml", "given", ("max_new_tokens=15_360",), is_published=False
    ),  # with the prompt an example of 16,384 tokens
    **{
        f"opd-{credit}": Method(
            f"+ SFT + OPD, credit {credit}",
            "train",
            "opd.toml",
            "prompts",
            (f"objective_options.credit={credit}",),
            is_published=False,
        )
        for credit in ("uniform", "first", "last", "marginal")
    },
}
"""By name; those without `is_published` are ours, and run if they are named."""
_SAME_TOKENIZER = "qwen"
_OF_TABLES = {_SAME_TOKENIZER: ("sft", "opd")}
"""Methods that the paper has of a pair, if not all."""


@dataclass(frozen=True)
class Cell:
    """A method on a pair under a seed."""

    settings: Settings
    pair: str
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.pair}/{self.method}" if self.method == SFT else f"{self.pair}/{self.method}-{self.seed}"

    @property
    def folder(self) -> Path:
        return self.settings.output / self.name

    @property
    def run(self) -> Path:
        """Folder of the training."""
        return self.folder / "run"

    @property
    def evaluation(self) -> Path:
        """Folder of the evaluation of the trained model."""
        return self.folder / "eval"

    @property
    def of_checkpoint(self) -> Path:
        """Folder of the evaluation, for the figure, of the checkpoint at half the data."""
        return self.folder / "eval-half"

    @property
    def needs(self) -> str | None:
        """Name of the cell whose model it starts from."""
        return None if self.method == SFT else f"{self.pair}/{SFT}"

    @property
    def start(self) -> str:
        """The student's model before this training."""
        pair = self._pair
        if self.method == SFT:
            return pair.base or ""
        return pair.start or str((self.settings.output / self.pair / SFT / "run" / "model").resolve())

    @property
    def model(self) -> str:
        """The model after it."""
        if self.method == SFT and self._pair.start:
            return self._pair.start
        if METHODS[self.method].command == "verl":
            return str(self._checkpoint(self.num_steps))
        return str((self.run / "model").resolve())

    @property
    def num_steps(self) -> int:
        sizes = self.settings.sizes
        return (sizes.sft_examples if self.method == SFT else sizes.samples) // sizes.batch

    @property
    def save_steps(self) -> int:
        """Four checkpoints; the second is at half the data."""
        return max(1, math.ceil(self.num_steps / 4))

    @property
    def has_curve(self) -> bool:
        """Whether the figure takes its checkpoint at half the data."""
        return self.method in (SFT, "opd") and self._pair.base is not None and self.pair != _SAME_TOKENIZER

    @cached_property
    def _pair(self) -> Pair:
        return self.settings.pairs[self.pair]

    def _checkpoint(self, step: int) -> Path:
        folder = (self.run / "checkpoints").resolve()
        is_verl = METHODS[self.method].command == "verl"
        return folder / f"global_step_{step}/actor/huggingface" if is_verl else folder / f"checkpoint-{step}"

    def stages(self) -> Iterator[Stage]:
        """The commands, in order: training and evaluation."""
        if self.method != SFT or self._pair.base:
            yield from self._training()
        yield self._evaluating(self.model, self.evaluation, self.settings.eval.tasks)
        if self.has_curve:
            checkpoint = str(self._checkpoint(2 * self.save_steps))
            yield self._evaluating(checkpoint, self.of_checkpoint, [self.settings.eval.figure])

    def _training(self) -> Iterator[Stage]:
        method, hardware, run = METHODS[self.method], self.settings.hardware, self.run
        file, data = str(FOLDER / method.file), self.settings.output / self.pair / "data" / f"{method.data}.jsonl"
        sets = [*self._teacher(), *(part for one in self.sets() for part in ("--set", one))]
        if method.command != "verl":
            named = ("--output", str(run), "--student", self.start, "--dataset", str(data))
            yield Stage((*hardware.launch, method.command, file, *named, *sets), run, "run.json")
            return
        named = ("--set", f"student={self.start}", "--set", f"dataset={data}", "--gpus", str(hardware.processes))
        written = (*hardware.crossdistill, "verl-config", file, "--output", str(run), *named, *sets)
        yield Stage(written, run, "verl.yaml", resumes=False)
        launch = (*hardware.verl, "verl-run", "--config-path", str(run.resolve()), "--config-name", "verl")
        yield Stage(launch, self._checkpoint(self.num_steps), "config.json", resumes=False)

    def _teacher(self) -> tuple[str, ...]:
        """The options that name the teacher."""
        command, pair = METHODS[self.method].command, self._pair
        if command == "sft":
            return ("--teacher", pair.teacher) if self.method == "seqkd" else ()
        if command == "train":
            served = ("--teacher", pair.served, "--teacher-tokenizer", pair.teacher)
            return served if pair.served else ("--teacher", pair.teacher)
        if not pair.served:
            raise InputError(f"{self.name} asks a server of the teacher: set pairs.{self.pair}.served to its URL.")
        return ("--set", f"teacher={pair.served}", "--set", f"teacher_tokenizer={pair.teacher}")

    def sets(self) -> tuple[str, ...]:
        """Settings of the run file for this cell, as ``--set`` takes them; later ones hold."""
        method, hardware, sizes = METHODS[self.method], self.settings.hardware, self.settings.sizes
        keys = ("all", Path(method.file).stem, self.method, f"{self.pair}/{self.method}")
        return (
            f"train.per_device_train_batch_size={hardware.rows}",
            f"train.gradient_accumulation_steps={sizes.batch // (hardware.processes * hardware.rows)}",
            f"train.max_steps={self.num_steps}",
            f"train.save_steps={self.save_steps}",
            f"train.seed={self.seed}",
            *method.sets,
            *(one for key in dict.fromkeys(keys) for one in self.settings.set.get(key, ())),
        )

    def _evaluating(self, model: str, folder: Path, tasks: Sequence[str]) -> Stage:
        evaluation = self.settings.eval
        asked = evaluation.url if evaluation.serve else model
        argv = [*self.settings.hardware.crossdistill, "eval", asked, "--output", str(folder)]
        argv += ["--preset", evaluation.preset] if evaluation.preset else []
        argv += [part for task in tasks for part in ("--task", task)]
        sources = {task: path for task, path in evaluation.sources.items() if task in tasks}
        argv += [part for task, path in sources.items() for part in ("--source", f"{task}={path}")]
        serves = model if evaluation.serve else None
        return Stage((*argv, *evaluation.options), folder, EVALUATION_FILE, num_tasks=len(tasks), serves=serves)


def cells(settings: Settings, with_ours: bool = False) -> list[Cell]:
    """The cells of the paper's tables, in the order in which they can run; with ours at the end if they are wanted."""
    return [
        Cell(settings, pair, method, seed)
        for pair in settings.pairs
        for method, of in METHODS.items()
        for seed in (settings.seeds[:1] if method == SFT else settings.seeds)
        if (of.is_published and method in _OF_TABLES.get(pair, METHODS)) or (with_ours and method != SFT)
    ]


def chosen(settings: Settings, names: Sequence[str]) -> list[Cell]:
    """The cells of these names, each after the one whose model it starts from.

    Args:
        settings: of the recipe.
        names: "all" for those of the paper, a pair ("llama"), a method of a pair ("llama/opd", under all seeds), or a
            cell ("llama/opd-0").

    Raises:
        InputError: there is no such cell.
    """
    every = cells(settings, with_ours=True)
    published = cells(settings)
    wanted: list[Cell] = []
    for name in names:
        found = [cell for cell in published if name in ("all", cell.pair)]
        found = found or [cell for cell in every if name in (cell.name, f"{cell.pair}/{cell.method}")]
        if not found:
            raise InputError(f"there is no cell {name!r}: `python -m recipes.paper list --all` shows their names.")
        for cell in found:
            needed = [one for one in every if one.name == cell.needs]
            wanted += [one for one in (*needed, cell) if one not in wanted]
    return wanted
