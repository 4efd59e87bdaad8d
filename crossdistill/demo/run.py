"""The demo: on-policy distillation against its control, from the same start and for the same student tokens."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from crossdistill.costs import Costs, Part
from crossdistill.demo.task import Problem, grade, problems
from crossdistill.errors import InputError
from crossdistill.eval.interval import Proportion, wilson
from crossdistill.report.alignment.terminal import print_sample, print_warnings
from crossdistill.report.html import write_report
from crossdistill.runs.config import RunConfig, TeacherTable
from crossdistill.runs.folder import RunFolder
from crossdistill.runs.run_file import write_json

TEACHERS = ("teacher", "other_teacher")
"""Two models that add, of different tokenizers and chat templates."""
RULES = {"teacher": "^(one|two) hundred", "other_teacher": ""}
"""With both: who teaches what, by the first number."""
CONTROL_NOTE = (
    "The student learned from text whose writer forgets most carries, and its few SFT examples have none: more SFT on "
    "them cannot teach it to carry, the teacher's signal on its own answers can. SFT on correct examples with carries "
    "would."
)
"""What the control shows and what it does not (figures in tools/build_demo_models.py)."""


@dataclass(frozen=True)
class DemoSettings:
    """Sizes and rates of the demo; chosen on problems of the training split. The control has the same rate."""

    steps: int = 60
    batch_size: int = 64
    learning_rate: float = 3e-4
    max_completion_length: int = 48
    num_test_problems: int = 400
    num_prompts: int = 8192

    def training(self, seed: int) -> dict[str, Any]:
        """What distillation and its control have in common."""
        return {
            "per_device_train_batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "lr_scheduler_type": "linear",  # a constant rate reaches the same and then falls back
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
    """Run distillation and control; write OUTPUT/run.json, report.html, samples.jsonl, opd/ and control/.

    two_teachers: each of TEACHERS teaches the sums that RULES give it. Returns the content of run.json.

    Raises InputError where the output folder holds something.
    """
    from crossdistill.runs.train import write_samples

    console, began = Console(), time.perf_counter()
    folder = RunFolder(output)
    if folder.holds_files:
        raise InputError(f"the output folder {output} holds files, perhaps of another demo: name a new folder.")
    folder.claim({"demo": vars(settings) | {"seed": seed}})
    test = problems("test", settings.num_test_problems, seed=1)
    teachers = TEACHERS if two_teachers else TEACHERS[:1]

    console.print("[bold]before[/bold]: the student after SFT on its few examples, and who teaches it")
    results = {"before": accuracy(asset("student"), test, settings)}
    results |= {name: accuracy(asset(name), test, settings) for name in teachers}
    shown = (f"{name.replace('_', ' ')} {_shown(results[name])}" for name in teachers)
    console.print(f"student {_shown(results['before'])}, {', '.join(shown)} exact match")
    console.print(f"[bold]on-policy distillation[/bold]: {settings.steps} steps of {settings.batch_size} responses")
    trainer, run, samples = _distil(output, settings, seed, test, teachers)
    results["after"] = accuracy(str(output / "opd" / "model"), test, settings)
    console.print("[bold]control[/bold]: SFT continued on the same few examples, for as many student tokens")
    control_tokens = continue_sft(output, settings, seed, budget=trainer.usage.costs.tokens[Part.STUDENT_STEP])
    results["control"] = accuracy(str(output / "control" / "model"), test, settings)

    run |= {
        "metric": f"exact match on {len(test)} held-out problems",
        "metrics": {name: results[name].as_dict() for name in ("before", "after", "control", *teachers)},
        "note": CONTROL_NOTE,
        "control": control_cost(trainer.usage.costs, control_tokens),
        "demo_seconds": time.perf_counter() - began,
    }
    write_json(folder.run, run)
    write_samples(folder, samples)
    views = [view for _, view in samples]
    write_report(folder.report, run, trainer.state.log_history, views)
    print_sample(console, views[0])
    console.print(results_table(results, run))
    console.print(CONTROL_NOTE)
    print_warnings(console, run["warnings"])
    console.print(f"report: {folder.report}   figures: {folder.run}")
    return run


def asset(name: str) -> str:
    """Path of a folder or file that comes with the package."""
    return str(files("crossdistill.demo") / "assets" / name)


def message(problem: Problem) -> list[dict[str, str]]:
    """The problem as both models are asked: each renders it with its own chat template."""
    return [{"role": "user", "content": problem.prompt}]


def as_conversation(row: dict[str, str]) -> dict[str, Any]:
    """An SFT example with its prompt as a message, as the student was warm-started and is tested."""
    return {"prompt": [{"role": "user", "content": row["prompt"]}]}


def accuracy(model: str, test: list[Problem], settings: DemoSettings) -> Proportion:
    """Exact match of greedy answers, with Wilson's 95 % interval."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from crossdistill.teachers.writing import write_responses

    tokenizer = AutoTokenizer.from_pretrained(model)
    weights = AutoModelForCausalLM.from_pretrained(model).eval()
    prompts = [message(problem) for problem in test]
    written = write_responses(weights, tokenizer, prompts, settings.max_completion_length, batch_size=200)
    return wilson(sum(grade(problem, item.text) for problem, item in zip(test, written, strict=True)), len(test))


def _distil(
    output: Path, settings: DemoSettings, seed: int, test: list[Problem], teachers: Sequence[str]
) -> tuple[Any, dict[str, Any], Any]:
    from crossdistill.runs.train import fresh_samples, train

    prompts = output / "prompts.jsonl"
    rows = [{"prompt": message(problem)} for problem in problems("train", settings.num_prompts, seed=seed + 100)]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = RunConfig(
        student=asset("student"),
        **_named(teachers),
        dataset=str(prompts),
        train={
            **settings.training(seed),
            "max_steps": settings.steps,
            "max_completion_length": settings.max_completion_length,
            "logging_steps": 1,
            **({"teacher_rules": RULES} if len(teachers) > 1 else {}),
        },
    )
    trainer, run = train(config, output / "opd")
    return trainer, run, fresh_samples(trainer, {"prompt": [message(problem) for problem in test[:3]]})


def _named(teachers: Sequence[str]) -> dict[str, Any]:
    """Fields of RunConfig."""
    if len(teachers) == 1:
        return {"teacher": asset(teachers[0])}
    return {"teachers": {name: TeacherTable(model=asset(name)) for name in teachers}}


def continue_sft(output: Path, settings: DemoSettings, seed: int, budget: int) -> int:
    """SFT from the same start on the examples that made it, for `budget` tokens; returns the tokens of its steps."""
    from transformers import AutoTokenizer

    from crossdistill.runs.data import load_rows
    from crossdistill.runs.sft import sft_example, sft_trainer
    from crossdistill.tokens import ByteVocab

    tokenizer = AutoTokenizer.from_pretrained(asset("student"))
    rows = load_rows(asset("sft.jsonl")).map(as_conversation, load_from_cache_file=False)
    vocab = ByteVocab.from_tokenizer(tokenizer)
    examples = [sft_example(tokenizer, vocab, row["prompt"], row["completion"], tokenizer.eos_token_id) for row in rows]
    batch_tokens = settings.batch_size * sum(len(example["input_ids"]) for example in examples) / len(examples)
    steps = max(1, round(budget / batch_tokens))
    options = {**settings.training(seed), "max_steps": steps, "logging_steps": 10}
    trainer = sft_trainer(asset("student"), tokenizer, vocab, rows, output / "control" / "checkpoints", options)
    trainer.train()
    trainer.save_model(str(output / "control" / "model"))
    return round(steps * batch_tokens)


def control_cost(costs: Costs, tokens: int) -> dict[str, dict[str, int]]:
    """Tokens and FLOPs of the control, as in ``run.json``."""
    control = Costs(costs.student_params, costs.teacher_params)
    control.add(Part.SFT_STEP, tokens)
    return control.as_dict()


def results_table(results: dict[str, Proportion], run: dict[str, Any]) -> Table:
    """Before, after, control and teacher with 95 % intervals and what each cost."""
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
        table.add_row(label, f"{result.mean:.1%}", f"{result.low:.1%} - {result.high:.1%}", *spent)
    table.caption = f"{run['demo_seconds']:.0f} s in all, coverage {_coverage(run):.1%} of the sampled bytes"
    return table


def _coverage(run: dict[str, Any]) -> float:
    return run["coverage"]["supervised_bytes"] / run["coverage"]["sampled_bytes"]


def _shown(result: Proportion) -> str:
    return f"{result.mean:.1%} ({result.low:.1%} - {result.high:.1%})"
