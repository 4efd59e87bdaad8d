"""Pictures of the pages of real runs on the demo's models, to be looked at after a change of a page.

    python -m tools.screenshots --output runs/screenshots

trains, fine-tunes, evaluates, inspects and compares once (minutes on two CPU cores), and writes the pages anew on each
call: to OUTPUT/pages, and each of them, wide and on a phone, light and dark, to OUTPUT/pictures.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from crossdistill.cli.app import app
from crossdistill.demo.run import asset, message
from crossdistill.demo.task import problems
from crossdistill.report.arena.page import write_arena_page
from crossdistill.report.html import write_report
from crossdistill.runs.responses import read_sample_views
from crossdistill.runs.run_file import read_run
from tools.chromium import PATIENCE_MS, chromium

ARENA = Path(__file__).parents[1] / "benchmarks" / "results" / "arena_cpu.json"
TOKENIZERS = Path("models/tokenizers")
WIDTHS = (1400, 390)
SCHEMES = ("light", "dark")
MOST_PIXELS = 12_000
"""Of a picture's height: an arena's page is long."""
TASK = "crossdistill.demo.sums:Sums"
RUN_FILE = """
student = "{student}"
dataset = "{dataset}"
eval_every = 3
[eval_tasks.sums]
task = "{task}"
limit = 60
max_tokens = 48
[train]
max_steps = {steps}
per_device_train_batch_size = 16
learning_rate = 3e-4
lr_scheduler_type = "constant"
logging_steps = 1
save_strategy = "no"
use_cpu = true
"""
EVALUATION = """
eval_strategy = "steps"
eval_steps = 6
"""
DISTILLATION = """
activation_checkpointing = false
max_completion_length = 48
"""


def crossdistill(*arguments: str | Path) -> None:
    """Run a command in this process, which has loaded the libraries."""
    app(list(map(str, arguments)), standalone_mode=False)


class Runs:
    """The runs in a folder; each is made once.

    Args:
        folder: to write to.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        prompts = [{"prompt": message(one)} for one in problems("train", 600, seed=117)]
        examples = [{"prompt": message(one), "completion": one.solution} for one in problems("sft", 100, seed=3)]
        self._prompts = self._rows("prompts", prompts[:-64])
        self._held_out = self._rows("held-out", prompts[-64:])
        self._examples = self._rows("examples", examples[:80])
        self._held_out_examples = self._rows("held-out-examples", examples[80:])

    def train(self, objective: str, seed: int = 0, steps: int = 18) -> Path:
        """A distillation, with held-out prompts and problems."""
        text = RUN_FILE.format(student=asset("student"), dataset=self._prompts, task=TASK, steps=steps)
        options = ("--teacher", asset("teacher"), "--objective", objective, "--eval-dataset", self._held_out)
        text += EVALUATION + DISTILLATION
        return self._made("train", f"{objective}-seed{seed}", text, *options, "--set", f"train.seed={seed}")

    def sft(self, steps: int = 18) -> Path:
        """A warm start on given examples, with others held out."""
        text = RUN_FILE.format(student=asset("student"), dataset=self._examples, task=TASK, steps=steps) + EVALUATION
        return self._made("sft", "sft", text, "--set", f'eval_dataset="{self._held_out_examples}"')

    def evaluation(self, model: str) -> Path:
        """An evaluation of one of the demo's models as it is."""
        folder = self._folder / f"eval-{model}"
        if not (folder / "eval.json").exists():
            options = ("--task", TASK, "--limit", "60", "--max-tokens", "48", "--output", folder)
            crossdistill("eval", asset(model), *options)
        return folder

    def _made(self, command: str, name: str, text: str, *options: str | Path) -> Path:
        folder = self._folder / name
        if not (folder / "run.json").exists():
            file = self._folder / f"{name}.toml"
            file.write_text(text)
            crossdistill(command, file, "--output", folder, *options)
        return folder

    def _rows(self, name: str, rows: list[dict[str, Any]]) -> Path:
        path = self._folder / f"{name}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path


def write_pages(folder: Path, runs: Runs) -> Iterator[Path]:
    """Make the runs that are missing, and write the page of each kind."""
    folder.mkdir(parents=True, exist_ok=True)
    trained, tuned = runs.train("dpca"), runs.sft()
    for name, run in (("train", trained), ("sft", tuned)):
        record = read_run(run)
        views = list(read_sample_views(run)) if (run / "samples.jsonl").exists() else []
        write_report(folder / f"{name}.html", record, record["history"], views)
        yield folder / f"{name}.html"
    teacher = ("--teacher", runs.evaluation("teacher"), "--reach", "0.5", "--quiet")
    pair = real_pair()
    commands = {
        "inspect-demo": ("inspect", asset("student"), asset("teacher")),
        **({"inspect": ("inspect", *pair)} if pair else {}),
        "align": ("align", "--run", trained),
        "compare": ("compare", trained, tuned, *teacher),
        "cost": ("report", trained, tuned, "--quiet"),
    }
    for name, arguments in commands.items():
        crossdistill(*arguments, "--html", folder / f"{name}.html")
        yield folder / f"{name}.html"
    write_arena_page(folder / "arena.html", json.loads(ARENA.read_text()))
    yield folder / "arena.html"


def real_pair() -> tuple[Path, Path] | None:
    """Two real tokenizers of different families, if `make tokenizers` has fetched them."""
    pair = TOKENIZERS / "qwen3", TOKENIZERS / "gemma-3"
    return pair if all(path.is_dir() for path in pair) else None


def take_pictures(browser: Any, pages: list[Path], folder: Path) -> None:
    """A picture of each page at each width in each colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    for width, scheme in product(WIDTHS, SCHEMES):
        size = {"width": width, "height": 844}
        context = browser.new_context(viewport=size, color_scheme=scheme, is_mobile=width < 600, offline=True)
        context.set_default_timeout(PATIENCE_MS)
        for page in pages:
            tab = context.new_page()
            tab.goto(page.resolve().as_uri())
            tab.add_style_tag(content=".long { content-visibility: visible; }")  # also what is out of sight
            height = min(tab.evaluate("document.documentElement.scrollHeight"), MOST_PIXELS)
            clip = {"x": 0, "y": 0, "width": width, "height": height}
            tab.screenshot(path=folder / f"{page.stem}-{width}-{scheme}.png", full_page=True, clip=clip)
            tab.close()
        context.close()


def main(
    output: Annotated[Path, typer.Option(help="Folder of the runs, pages and pictures.")] = Path("runs/screenshots"),
) -> None:
    """Write the pages of real runs, and pictures of them."""
    pages = list(write_pages(output / "pages", Runs(output / "runs")))
    with chromium() as browser:
        take_pictures(browser, pages, output / "pictures")
    typer.echo(f"{len(pages)} pages are in {output / 'pages'}, their pictures in {output / 'pictures'}")


if __name__ == "__main__":
    typer.run(main)
