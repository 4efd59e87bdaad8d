"""What a launch asked for and what accelerate does."""

import pytest
from accelerate.utils import DistributedType

from crossdistill.errors import InputError
from crossdistill.train.preflight.launch import check_launch, engine_findings
from tests.train.harness import load, make_trainer
from tests.train.test_finite import MAKERS


@pytest.mark.parametrize(("variable", "asked"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "Deep")])
def test_an_engine_that_does_not_run_is_told(monkeypatch, variable, asked):
    monkeypatch.setenv(variable, "true")
    (found,) = engine_findings(DistributedType.MULTI_CPU)
    assert found.message.startswith(asked)
    assert "on a CPU it trains with DDP" in found.message
    (found,) = engine_findings(DistributedType.MULTI_XPU)
    assert "it trains with MULTI_XPU" in found.message


def test_an_engine_that_runs_is_not(monkeypatch):
    assert list(engine_findings(DistributedType.MULTI_CPU)) == []
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    assert list(engine_findings(DistributedType.FSDP)) == []


@MAKERS
def test_the_run_says_so(monkeypatch, pair, output, make):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    found = [finding.kind.name for finding in make(pair, output, load(pair.student)).findings.findings]
    assert "other_engine" in found


def test_a_compiled_student_is_refused(monkeypatch, pair, output):
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "NO")
    check_launch()
    monkeypatch.setenv("ACCELERATE_DYNAMO_BACKEND", "INDUCTOR")
    with pytest.raises(InputError, match=r"asks for a compiled student .* Launch with --dynamo_backend no"):
        make_trainer(pair, output)
