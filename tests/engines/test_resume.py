"""Resumed runs go on as if there had been no interruption, also with another number of processes."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.engines.case import Case
from tests.engines.compare import difference
from tests.engines.launch import Outcome, launch, outcome
from tests.engines.zero import ZERO

pytestmark = pytest.mark.engines
ADAM = {"optim": "adamw_torch", "learning_rate": 1e-2, "adam_epsilon": 1e-2}
HALF, WHOLE = 2, 4
KINDS = {
    "dpca": Case("dpca", "dpca", options=ADAM),
    "bld": Case("bld", "bld", options={**ADAM, "learning_rate": 1e-4}),
    "lora": Case("lora", "dpca", options=ADAM, lora=True),
}
LAYOUTS = {
    "ddp": {"": {}},
    "fsdp2": {
        "-full": {"FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT"},
        "-sharded": {"FSDP_STATE_DICT_TYPE": "SHARDED_STATE_DICT"},
    },
    "zero2": {"": {}},
    "zero3": {"": {}},
}
"""Engine -> names of its layouts of a checkpoint, and variables that choose them."""


def saved(engine: str) -> list[Case]:
    """Runs that end, with a checkpoint, where the whole one is half done."""
    return [
        _changed(case, f"{name}{layout}", {"max_steps": HALF, "save_strategy": "steps", "save_steps": HALF}, variables)
        for name, case in KINDS.items()
        for layout, variables in LAYOUTS[engine].items()
    ]


def resumed(cases: list[Case], folder: Path, steps: int = WHOLE) -> list[Case]:
    """The same runs, resumed from what is in `folder`."""
    return [
        replace(
            case,
            name=f"{case.name}-to-{steps}",
            options={**case.options, "max_steps": steps},
            resume=str(folder / case.name),
        )
        for case in cases
    ]


def _changed(case: Case, name: str, options: dict[str, object], environment: dict[str, str]) -> Case:
    return replace(case, name=name, options={**case.options, **options}, environment=environment)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Outcome]:
    """Of one process, never interrupted."""
    cases = [_changed(case, name, {"max_steps": WHOLE}, {}) for name, case in KINDS.items()]
    return launch("one", 1, cases, tmp_path_factory.mktemp("whole"))


def check(cases: list[Case], found: dict[str, Outcome], whole: dict[str, Outcome]) -> None:
    """Check that resumed runs ended as the whole ones."""
    apart = {}
    for case in cases:
        expected, went_on = whole[case.name.partition("-")[0]].since(HALF), found[case.name]
        assert list(went_on.weights) == list(range(HALF, WHOLE + 1))
        difference_ = difference(expected, went_on.since(HALF))
        last = zip(expected.weights[WHOLE].values(), went_on.weights[WHOLE].values(), strict=True)
        weights = max(float((ours - theirs).abs().max()) for ours, theirs in last)
        if max(difference_.loss, difference_.gradient) > 1e-4 or weights > 1e-5:
            apart[case.name] = (difference_, weights)
    assert apart == {}


@pytest.fixture(scope="module", params=["ddp", "fsdp2", *ZERO])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def halves(engine: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of two processes' halves of the runs, and of the other halves."""
    folder, cases = tmp_path_factory.mktemp(engine), saved(engine)
    finished = [case for case in resumed(cases, folder, HALF) if case.objective == "dpca"]
    launch(engine, 2, [*cases, *resumed(cases, folder), *finished], folder)
    return folder


def test_as_many_processes(whole, engine, halves):
    cases = resumed(saved(engine), halves)
    check(cases, {case.name: outcome(halves / case.name) for case in cases}, whole)


def test_a_finished_run_makes_no_step(engine, halves):
    for name in [case.name for case in saved(engine) if case.objective == "dpca"]:
        before, after = outcome(halves / name), outcome(halves / f"{name}-to-{HALF}")
        assert after.steps == before.steps
        assert list(after.weights) == [HALF] or engine == "ddp"


def test_another_number_of_processes(whole, engine, halves, tmp_path):
    """2 -> 3, 2 -> 1, and 1 -> 2; DeepSpeed's state is divided for good."""
    if engine.startswith("zero"):
        pytest.skip("refused, see below")
    cases = [case for case in saved(engine) if not case.lora]
    went_on = resumed(cases, halves)
    check(went_on, launch(engine, 3, went_on, tmp_path / "three"), whole)
    one = tmp_path / "one"
    check(went_on, launch("one" if engine == "ddp" else engine, 1, [*went_on, *cases], one), whole)
    back = resumed(cases, one)
    check(back, launch(engine, 2, back, tmp_path / "back"), whole)


@pytest.mark.parametrize("engine", ZERO, indirect=True)
def test_another_number_of_processes_is_refused(engine, halves, tmp_path):
    (case,) = resumed([case for case in saved(engine) if case.name == "dpca"], halves)
    told = launch(engine, 3, [case], tmp_path)[case.name].result["told"]
    assert f"was written with ZeRO-{engine[-1]} on 2 processes, and this run is launched" in told
    assert told.endswith(f"launch it with ZeRO-{engine[-1]} on 2 processes.")
