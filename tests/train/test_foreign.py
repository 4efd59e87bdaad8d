"""An objective and a teacher that do not come with the package, through whole runs: the code of the pages on them."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer

from crossdistill import InputError
from crossdistill.cli.commands import inspect
from crossdistill.costs import Part
from crossdistill.distill import Distiller
from crossdistill.inspection.advice import advice
from crossdistill.inspection.measure import Measure, read_documents
from crossdistill.objectives import Objective, get
from crossdistill.signal import Signal
from crossdistill.teachers import LocalTeacher
from crossdistill.train import CrossTokenizerTrainer
from tests.models import MESSAGES, Pair
from tests.snippets import blocks
from tests.train.harness import RecordingTrainer, arguments, load

PATH = "my_methods:SquaredRatio"
BATCH = 4


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The code of the pages in files of the current folder, imported; nothing of it is left afterwards."""
    for page, name in (("docs/own-objective.md", "my_methods"), ("docs/own-teacher.md", "my_teachers")):
        (code,) = blocks(page, "python")
        (tmp_path / f"{name}.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_methods"), importlib.import_module("my_teachers")
    for name in ("my_methods", "my_teachers"):
        sys.modules.pop(name, None)


def bigram(my_teachers: Any, pair: Pair, texts: tuple[str, ...] = ("one two three", "two + two = four")) -> Any:
    return my_teachers.Bigram(AutoTokenizer.from_pretrained(pair.teacher), texts)


def trainer_of(pair: Pair, output: Path, teacher: Any, objective: Any = PATH, **options: Any) -> RecordingTrainer:
    args = arguments(output, objective=objective, **options)
    rows = Dataset.from_list([{"prompt": prompt} for prompt in MESSAGES])
    return RecordingTrainer(pair.student, teacher, args, train_dataset=rows)


def test_both_through_a_run_with_its_resume_and_costs(modules: Any, pair: Pair, output: Path) -> None:
    my_methods, my_teachers = modules
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    whole = trainer_of(pair, output / "whole", bigram(my_teachers, pair), **saving)
    whole.train()
    assert isinstance(whole.objective, my_methods.SquaredRatio)
    assert whole.choice.objective == PATH
    for step in whole.steps:
        assert step["loss"] > 0
        assert step["grad_norm"] > 0
        assert 0 < step["abs_log_ratio"] <= 10
        assert step["coverage"] == 1.0
    tokens = whole.usage.costs.tokens[Part.TEACHER_PREFILL]
    assert tokens > 0
    assert whole.usage.costs.flops[Part.TEACHER_PREFILL] == 2 * 1_000_000 * tokens

    checkpoint = output / "whole" / "checkpoint-1"
    kept = json.loads((checkpoint / "teachers.json").read_text())
    assert kept["teacher"]["kind"] == "bigram"
    resumed = trainer_of(pair, output / "whole", bigram(my_teachers, pair), **saving)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.steps[-1]["loss"] == pytest.approx(whole.steps[-1]["loss"], rel=1e-6)
    assert resumed.usage.costs.tokens == whole.usage.costs.tokens
    other = trainer_of(pair, output / "whole", bigram(my_teachers, pair, ("another text",)), **saving)
    with pytest.raises(InputError, match=r"the teacher 'teacher' is another model .* up to checkpoint-1: its identity"):
        other.train(resume_from_checkpoint=str(checkpoint))


def test_an_objective_is_given_as_an_object_too(modules: Any, pair: Pair, output: Path) -> None:
    my_methods, my_teachers = modules
    given = my_methods.SquaredRatio(bound=0.25)
    trainer = trainer_of(pair, output, bigram(my_teachers, pair), objective=given, max_steps=1)
    assert trainer.objective is given
    assert (trainer.args.objective, trainer.args.objective_options) == (PATH, {"bound": 0.25})
    json.loads(trainer.args.to_json_string())  # loggers take the configuration as JSON
    trainer.train()
    assert trainer.steps[0]["abs_log_ratio"] <= 0.25
    with pytest.raises(InputError, match="objective_options are for an objective that is named"):
        arguments(output, objective=given, objective_options={"bound": 1.0})


def test_options_of_an_import_path_are_checked(modules: Any, output: Path) -> None:
    assert get(PATH, bound=2.0).bound == 2.0
    for name, options, message in (
        (PATH, {"bond": 2.0}, "has no option 'bond'; it takes bound"),
        (PATH, {"bound": "2"}, "option 'bound' of objective 'my_methods:SquaredRatio' must be a number, not '2'"),
        ("my_methods:Squared", {}, "the module 'my_methods' has no 'Squared'"),
        ("my_method:SquaredRatio", {}, "there is no module 'my_method': install its package"),
        ("my_methods:LossSum", {}, "is not a subclass of crossdistill.objectives.Objective"),
        (":SquaredRatio", {}, "write package.module:Name"),
    ):
        with pytest.raises(InputError, match=message):
            get(name, **options)
    with pytest.raises(InputError, match="there is no module 'my_method'"):
        arguments(output, objective="my_method:SquaredRatio")


class Nameless(Objective):
    @property
    def signal(self) -> Signal:
        return Signal.SAMPLED

    def loss(self, inputs: Any) -> Any:
        raise NotImplementedError


class OfNoTokens(Nameless):
    name = "of_no_tokens"

    @property
    def signal(self) -> Signal:
        return Signal.TOPK


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (Nameless(), r"the objective Nameless has no `name`"),
        (OfNoTokens(), r"needs the teacher's top k and does not say how many: declare an option, top_k: int = 16"),
        (OfNoTokens, r"the objective is <class .*OfNoTokens'>: give an instance of it"),
        (3, r"the objective is 3: give a name, an import path or an Objective"),
    ],
)
def test_an_objective_that_lacks_something_is_refused_at_once(output: Path, objective: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        arguments(output, objective=objective)
    if isinstance(objective, Objective):
        with pytest.raises(InputError, match=message):
            get(f"{__name__}:{type(objective).__name__}")


def test_inspect_prints_it(modules: Any, pair: Pair, capsys: pytest.CaptureFixture[str]) -> None:
    inspect.command(pair.student, pair.teacher, objective=[PATH])
    printed = capsys.readouterr().out
    assert "squared_ratio" in printed
    assert "compares the probabilities of" in printed


def test_inspect_says_what_a_foreign_objective_says_of_itself(modules: Any, vocabs: Any) -> None:
    total = Measure.of(read_documents(vocabs["gpt2"], vocabs["gemma"]))
    (found,) = advice(total, [get(PATH)])
    assert found.objective == "squared_ratio"
    assert found.reason.startswith(
        f"compares the probabilities of {total.num_chunks:,} chunks; needs the teacher's log-"
    )


def test_what_a_foreign_teacher_cannot_give_is_refused(modules: Any, pair: Pair, output: Path) -> None:
    teacher = bigram(modules[1], pair)
    with pytest.raises(
        InputError, match="objective 'bpm' needs dense probabilities and this teacher gives only sampled"
    ):
        trainer_of(pair, output, teacher, objective="bpm")
    with pytest.raises(InputError, match=r"at the sampling temperature 0\.5, and this teacher .* at temperature 1"):
        trainer_of(pair, output, teacher, objective="dpca", temperature=0.5)
    with pytest.raises(InputError, match="takes a single local one"):
        trainer_of(pair, output, teacher, objective="alm", objective_options={"debias": False}, on_policy_share=0.5,
                   off_policy="teacher")  # fmt: skip
    short = bigram(modules[1], pair)
    short.max_length = 10
    with pytest.raises(InputError, match="does not fit the teacher's context of 10 tokens"):
        trainer_of(pair, output, short)


def test_what_is_no_teacher_is_refused(pair: Pair, output: Path) -> None:
    with pytest.raises(InputError, match=r"crossdistill\.teachers\.Teacher"):
        CrossTokenizerTrainer(
            pair.student, object(), arguments(output), train_dataset=Dataset.from_list([{"prompt": "a"}])
        )


def test_a_foreign_teacher_takes_the_temperature_that_it_is_set_to(pair: Pair, output: Path) -> None:
    """A teacher that was given keeps its own: the run must have the same."""
    model, tokenizer = load(pair.teacher), AutoTokenizer.from_pretrained(pair.teacher)
    trainer = trainer_of(
        pair, output, LocalTeacher(model, tokenizer, temperature=0.5), objective="dpca", temperature=0.5
    )
    assert trainer.teacher.temperature == 0.5
    student, tokenizer = load(pair.student), AutoTokenizer.from_pretrained(pair.student)
    with pytest.raises(
        InputError, match=r"sampling temperature 1, and this teacher gives log-probabilities at temperature 0\.5"
    ):
        Distiller(tokenizer, trainer.teacher, "dpca", student=student)
