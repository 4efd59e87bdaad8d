"""The demo: on-policy distillation and a control, from the same start and for the same number of student tokens."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossdistill.costs import Costs, Part
from crossdistill.demo.sums import Sums
from crossdistill.demo.task import Problem, problems
from crossdistill.errors import InputError
from crossdistill.eval.interval import Estimate
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import TaskOptions
from crossdistill.report.alignment.terminal import print_sample, print_warnings
from crossdistill.runs.accuracy import ACCURACY
from crossdistill.runs.config import RunConfig, TeacherTable
from crossdistill.runs.eval_tasks import EvalTaskTable
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.run_file import write_json

TEACHERS = ("teacher", "other_teacher")
"""Two models that can add, with different tokenizers and chat templates."""
RULES = {"teacher": "^(one|two) hundred", "other_teacher": ""}
"""Routing of problems with both teachers: by the first number."""
CONTROL_NOTE = (
    "The student was pretrained on sums in which most carries are forgotten, and none of its few SFT examples has a "
    "carry: more SFT on them cannot teach it to carry, but the teacher's signal on its own answers can. SFT on correct "
    "examples with carries would, too."
)
"""What the control shows and what it does not (figures in tools/build_demo_models.py)."""


@dataclass(frozen=True)
class DemoSettings:
    """Sizes and rates of the demo, chosen on problems of the training split.

    Attributes:
        steps: optimisation steps of the distillation.
        batch_size: responses per step, of the control too.
        learning_rate: of both.
        max_completion_length: tokens of a response.
        num_test_problems: held-out problems to evaluate on.
        num_prompts: problems to train on.
    """

    steps: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-4
    max_completion_length: int = 48
    num_test_problems: int = 400
    num_prompts: int = 8192

    def training(self, seed: int) -> dict[str, Any]:
        """Trainer settings that distillation and control share."""
        return {
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "linear",  # a constant rate reaches the same accuracy and then loses some
            "warmup_steps": 5,
            "activation_checkpointing": False,
            "use_cpu": True,
            "save_strategy": "no",
            "seed": seed,
        }


DEFAULTS = DemoSettings()


def run_demo(
    output: Path, seed: int = 0, settings: DemoSettings = DEFAULTS, two_teachers: bool = False
) -> dict[str, Any]:
    """Run distillation and control, and write OUTPUT/run.json, report.html, samples.jsonl, opd/ and control/.

    Args:
        output: folder to write; new or empty.
        seed: of rollouts, prompts and data order; the test problems are fixed.
        settings: sizes and rates.
        two_teachers: whether both TEACHERS teach, each the problems that RULES assign to it.

    Returns:
        The content of run.json.

    Raises:
        InputError: the output folder holds files.
    """
    from crossdistill.runs.train import write_report_if_possible, write_samples

    console, began = Console(), time.perf_counter()
    folder = RunFolder(output)
    if folder.holds_files:
        raise InputError(f"the output folder {output} holds files, perhaps of another demo: name a new folder.")
    folder.claim({"demo": vars(settings) | {"seed": seed}})
    teachers = TEACHERS if two_teachers else TEACHERS[:1]

    console.print("[bold]who teaches[/bold]: exact match on held-out problems")
    results = {name: accuracy(asset(name), settings, output / "evaluations" / name) for name in teachers}
    console.print(", ".join(f"{name.replace('_', ' ')} {_in_words(results[name])}" for name in teachers))
    console.print(
        f"[bold]on-policy distillation[/bold] of the student after SFT on its few examples: {settings.steps} steps of "
        f"{settings.batch_size} responses"
    )
    trainer, run, samples = _distil(output, settings, seed, teachers)
    curve = run["accuracy"][Sums.name]
    results |= {"before": _estimate(curve[0]), "after": _estimate(curve[-1])}
    console.print(curve_table(curve))
    console.print("[bold]control[/bold]: SFT continued on the same few examples, for as many student tokens")
    control = continue_sft(output, settings, seed, budget=trainer.usage.costs.tokens[Part.STUDENT_STEP])
    results["control"] = accuracy(str(output / "control" / "model"), settings, output / "evaluations" / "control")

    run |= {
        "metric": f"exact match on {settings.num_test_problems} held-out problems",
        "metrics": {name: results[name].as_dict() for name in ("before", "after", "control", *teachers)},
        "note": CONTROL_NOTE,
        "control": control.as_dict(),
        "demo_seconds": time.perf_counter() - began,
    }
    write_json(folder.run, run)
    write_samples(folder, samples)
    views = [view for _, view in samples]
    write_report_if_possible(folder, run, views)
    print_sample(console, views[0])
    console.print(results_table(results, run))
    console.print(CONTROL_NOTE)
    print_warnings(console, run["warnings"])
    report = f"report: {folder.report}   " if folder.report.exists() else ""
    console.print(f"{report}figures: {folder.run}")
    return run


def asset(name: str) -> str:
    """Path of a model's folder ("student", "teacher", "other_teacher") or of a file that comes with the demo."""
    return str(files("crossdistill.demo") / "assets" / name)


def message(problem: Problem) -> list[dict[str, str]]:
    """The problem as a conversation, which each model renders with its own chat template."""
    return [{"role": "user", "content": problem.prompt}]


def as_conversation(row: dict[str, str]) -> dict[str, Any]:
    """The ``prompt`` of an SFT example as a conversation, as in the student's warm start and its test."""
    return {"prompt": [{"role": "user", "content": row["prompt"]}]}


def accuracy(model: str, settings: DemoSettings, folder: Path) -> Estimate:
    """Exact match of greedy answers, with its 95 % interval.

    Args:
        model: its folder.
        settings: of the demo: number of problems, and length of responses.
        folder: for the evaluation.
    """
    from transformers import AutoTokenizer

    from crossdistill.runs.evaluate import evaluate_model
    from crossdistill.train.loading import load_model

    tokenizer = AutoTokenizer.from_pretrained(model)
    weights = load_model(f"the model {model!r}", model, {"device_map": None}).eval()
    options, sampling = (
        TaskOptions(limit=settings.num_test_problems),
        Sampling(max_tokens=settings.max_completion_length),
    )
    found = evaluate_model(weights, tokenizer, Sums(), options, sampling, folder, name=model, is_quiet=True)
    return _estimate(found["tasks"][Sums.name]["metrics"][ACCURACY])


def _estimate(entry: Mapping[str, Any]) -> Estimate:
    """The estimate of an evaluation's metric, or of a point of a run's curve."""
    low, high = entry["ci"]
    return Estimate(entry["mean"], low, high, entry["n"])


def _distil(
    output: Path, settings: DemoSettings, seed: int, teachers: Sequence[str]
) -> tuple[Any, dict[str, Any], Any]:
    from crossdistill.runs.train import fresh_samples, train

    prompts = output / "prompts.jsonl"
    rows = [{"prompt": message(problem)} for problem in problems("train", settings.num_prompts, seed=seed + 100)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RunConfig(
        student=asset("student"),
        **_teacher_fields(teachers),
        dataset=str(prompts),
        eval_tasks={
            Sums.name: EvalTaskTable(
                task=f"{Sums.__module__}:{Sums.__name__}",
                limit=settings.num_test_problems,
                max_tokens=settings.max_completion_length,
            )
        },
        train={
            **settings.training(seed),
            "max_steps": settings.steps,
            "max_completion_length": settings.max_completion_length,
            "logging_steps": 1,
            **({"teacher_rules": RULES} if len(teachers) > 1 else {}),
        },
    )
    trainer, run = train(config, output / "opd")
    shown = Sums(num_problems=3).problems(TaskOptions())
    return trainer, run, fresh_samples(trainer, {"prompt": [problem.prompt for problem in shown]})


def _teacher_fields(teachers: Sequence[str]) -> dict[str, Any]:
    """Fields of RunConfig for one teacher or several."""
    if len(teachers) == 1:
        return {"teacher": asset(teachers[0])}
    return {"teachers": {name: TeacherTable(model=asset(name)) for name in teachers}}


def continue_sft(output: Path, settings: DemoSettings, seed: int, budget: int) -> Costs:
    """Continue SFT from the same start, on the examples of the warm start.

    Args:
        output: of the demo; the model is written to OUTPUT/control/model.
        settings: sizes and rates.
        seed: of the data order.
        budget: tokens to train on; rounded to whole steps.

    Returns:
        Tokens and FLOPs of all steps.
    """
    from transformers import AutoTokenizer

    from crossdistill.runs.data import load_rows
    from crossdistill.runs.sft import sft_trainer
    from crossdistill.runs.sft_examples import ExampleMaker
    from crossdistill.tokens import ByteVocab

    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    rows = load_rows(asset("sft.jsonl")).map(as_conversation, load_from_cache_file=False)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    maker = ExampleMaker(tokenizer, vocab)
    examples = [maker.of_completion(row["prompt"], row["completion"]) for row in rows]
    steps_of_epoch = math.ceil(len(examples) / settings.batch_size)  # the last one is smaller
    step_tokens = sum(len(example["input_ids"]) for example in examples) / steps_of_epoch
    steps = max(1, round(budget / step_tokens))
    options = {**settings.training(seed), "max_steps": steps, "logging_steps": 10}
    trainer = sft_trainer(asset("student"), tokenizer, vocab, rows, output / "control" / "checkpoints", options)
    trainer.train()
    trainer.save_model(str(output / "control" / "model"))
    costs: Costs = trainer.usage.costs
    return costs


def curve_table(curve: Sequence[Mapping[str, Any]]) -> Table:
    """Accuracy over the steps of the distillation, with 95 % intervals and costs."""
    table = Table(title="the student during distillation")
    for column in ("step", "exact match", "95 % interval", "student tokens", "TFLOP"):
        table.add_column(column, justify="right")
    for point in curve:
        result = _estimate(point)
        spent = f"{point['student_tokens']:,}", f"{point['flops'] / 1e12:.2f}"
        table.add_row(str(point["step"]), f"{result.mean:.1%}", _interval(result), *spent)
    return table


def results_table(results: dict[str, Estimate], run: dict[str, Any]) -> Table:
    """Accuracy before, after, of the control and of each teacher, with 95 % intervals and costs."""
    table = Table(title=f"exact match on {results['before'].n} held-out problems, seed {run['seed']}")
    for column in ("", "exact match", "95 % interval", "student tokens", "TFLOP"):
        table.add_column(column, justify="left" if not column else "right")
    tokens = {"after": run["tokens"]["student_step"], "control": run["control"]["tokens"]["sft_step"]}
    flops = {"after": run["flops"]["total"], "control": run["control"]["flops"]["total"]}
    names = {
        "before": "student before",
        "after": "after distillation",
        "control": "control: SFT continued",
        "teacher": "teacher",
        "other_teacher": "other teacher",
    }
    for name, label in ((name, label) for name, label in names.items() if name in results):
        result = results[name]
        spent = (f"{tokens[name]:,}", f"{flops[name] / 1e12:.2f}") if name in tokens else ("", "")
        table.add_row(label, f"{result.mean:.1%}", _interval(result), *spent)
    table.caption = f"{run['demo_seconds']:.0f} s in all, coverage {_coverage(run):.1%} of the sampled bytes"
    return table


def _coverage(run: dict[str, Any]) -> float:
    return run["coverage"]["supervised_bytes"] / run["coverage"]["sampled_bytes"]


def _in_words(result: Estimate) -> str:
    return f"{result.mean:.1%} ({_interval(result)})"


def _interval(result: Estimate) -> str:
    return f"{result.low:.1%} - {result.high:.1%}"
