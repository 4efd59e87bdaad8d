"""The pages that a reader follows run as they stand, from top to bottom, on tiny models under the names of the real."""

import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from transformers import TrainingArguments

from tests.cli.harness import run
from tests.documentation.world import with_files, with_models
from tests.snippets import PAGES, Shown, walk

FROM_AN_EMPTY_FOLDER = ("README.md", "docs/quickstart.md")
WITH_FILES = (
    "docs/after-training.md",
    "docs/configuration.md",
    "docs/inspect.md",
    "docs/keys.md",
    "docs/objectives.md",
    "docs/own-objective.md",
    "docs/own-task.md",
    "docs/starting.md",
    "docs/tasks.md",
)
MAX_STEPS = 2
NOT_RUN = {
    # page, or command line of a page that is run -> why it is only parsed, in test_commands.py
    "docs/arena.md": "a run of every method under several seeds; tests/arena runs small ones",
    "docs/comparison.md": "compares runs of hours; tests/cli/test_compare.py compares small ones",
    "docs/costs.md": "runs of hours; tests/cli/test_report.py reports on small ones",
    "docs/evaluation.md": "data sets and a model of the hub, and a server; tests/cli/test_eval.py evaluates",
    "docs/harnesses.md": "environments of their own; run by `make test-harness`",
    "docs/memory.md": "a launch file of the repository; run by tests/cli/test_doctor_run.py",
    "docs/measurements.md": "minutes to hours: what the page's figures come from",
    "docs/real-models.md": "real weights; run by `make test-real`",
    "docs/results.md": "hours: what the page's figures come from",
    "docs/served-teachers.md": "a server that is not there; tests/cli/test_served.py has one",
    "docs/sft.md": "responses of one's own; docs/quickstart.md has the same commands",
    "docs/train.md": "a run that was interrupted; tests/runs/test_train.py resumes one",
    "docs/several-gpus.md": "several GPUs; run by `make test-engines` on CPUs",
    "docs/verl.md": "an environment with verl; run by `make test-verl`",
    "crossdistill demo --output runs/demo": "minutes; tests/demo runs its parts",
    "crossdistill eval runs/first/model --task gsm8k --output evaluations/first": "a data set of the hub",
    "crossdistill compare runs/first runs/second": "compares runs with evaluations, as in docs/comparison.md",
    "crossdistill eval MODEL --task gsm8k --task math500 --limit 200": "data sets of the hub",
    "crossdistill eval MODEL --preset paper": "data sets of the hub",
    "crossdistill eval MODEL --task reasoning_gym:countdown --param size=50": (
        "prompts longer than a tiny model's context; tests/eval/tasks/test_reasoning_gym.py makes them"
    ),
    "crossdistill eval MODEL --task reasoning_gym:chain_sum --param size=200 --param max_terms=4 --seed 7": "likewise",
    "crossdistill init STUDENT TEACHER [--dataset prompts.jsonl] [--output run.toml] [--lora] [--memory GIB]": (
        "a synopsis; run from docs/quickstart.md"
    ),
}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers take two steps at most: the one thing that is changed in what is shown."""
    prepare = TrainingArguments.__post_init__

    def capped(args: TrainingArguments) -> None:
        args.max_steps = min(args.max_steps, MAX_STEPS) if args.max_steps > 0 else MAX_STEPS
        prepare(args)

    monkeypatch.setattr(TrainingArguments, "__post_init__", capped)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    yield with_models(tmp_path)
    for name in set(sys.modules) - before:
        if (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize("page", FROM_AN_EMPTY_FOLDER)
def test_a_page_runs_from_an_empty_folder(page: str, folder: Path) -> None:
    follow(page)


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_FILES)
def test_a_page_runs_on_files_of_ones_own(page: str, folder: Path) -> None:
    with_files(folder)
    if "runs/first" in (text := " ".join(shown.text for shown in commands(page))) and " train " not in text:
        assert run("train", "run.toml", "--output", "runs/first").code == 0
    follow(page)


def follow(page: str) -> None:
    """Save the files of a page, and run its Python and its command lines, in order."""
    for shown in walk(page):
        if shown.language == "command" and shown.text not in NOT_RUN:
            result = run(*shown.arguments)
            assert result.code == 0, (shown.text, result.err)
            shutil.rmtree("crossdistill-eval", ignore_errors=True)  # lines that name no output are alternatives
        elif name := file_of(shown):
            Path(name).write_text(shown.text, encoding="utf-8")
        elif shown.language == "python":
            exec(compile(shown.text, page, "exec"), {"__name__": "__main__"})


def file_of(shown: Shown) -> str:
    """Where a block is saved: as the page says, or its own first line."""
    own = re.match(r"# ([\w-]+\.py)\n", shown.text)
    return shown.file or (own[1] if own else "")


def commands(page: str) -> list[Shown]:
    return [shown for shown in walk(page) if shown.language == "command"]


def test_every_command_line_is_run_or_has_a_reason() -> None:
    shown = {page: {one.text for one in commands(page)} for page in PAGES}
    with_commands = {page for page, texts in shown.items() if texts}
    walked = {*FROM_AN_EMPTY_FOLDER, *WITH_FILES}
    assert with_commands - walked == {name for name in NOT_RUN if name.endswith(".md")}
    reasons = {name for name in NOT_RUN if not name.endswith(".md")}
    assert reasons <= set().union(*(shown[page] for page in walked))
