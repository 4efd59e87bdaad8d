"""What the first responses of a run tell, and the healthy ones of which nothing is said."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from crossdistill.findings import FindingLog
from crossdistill.train.monitor.first_rollouts import FirstRollouts, first_findings
from crossdistill.train.monitor.rollout_sums import RolloutSums

HEALTHY = {
    "responses": 8, "stopped": 6, "gap_responses": 8, "gap_nats": 16, "gap_bytes": 80,
    "gap_nats_squared": 40, "gap_nats_times_bytes": 160, "gap_bytes_squared": 800,
    "scored_ends": 6, "end_probability": 3.0,
}  # fmt: skip
EQUAL = {"gap_nats": 0.001, "gap_nats_squared": 1e-6, "gap_nats_times_bytes": 0.01}


def kinds(stops=True, **changed):
    sums = RolloutSums()
    for _ in range(4):
        sums.add(RolloutSums(**{**HEALTHY, **changed}).values())
    return [finding.kind.name for finding in first_findings(sums, limit=48, stops=stops)]


def test_a_healthy_run_is_not_mentioned():
    assert kinds() == []


def test_responses_that_are_cut():
    assert kinds(stopped=0, scored_ends=0, end_probability=0) == ["completions_cut"]
    assert kinds(stopped=1) == []
    assert kinds(stops=False, stopped=0, scored_ends=0, end_probability=0) == []


def test_a_teacher_that_does_not_end_its_turns():
    assert kinds(end_probability=0.05) == ["teacher_does_not_end_turns"]
    assert kinds(end_probability=0.06) == []
    assert kinds(end_probability=0.0, scored_ends=3) == []  # too few to say so


def test_a_teacher_that_is_its_student():
    assert kinds(**EQUAL) == ["no_headroom"]
    assert kinds(**{**EQUAL, "gap_nats": 0.8, "gap_nats_squared": 0.08, "gap_nats_times_bytes": 8}) == []
    assert kinds(**{**EQUAL, "gap_nats_squared": 4}) == []  # 0 on average, and no response is
    assert kinds(**{**EQUAL, "gap_responses": 0, "gap_bytes": 0}) == []  # nothing was compared


def observation(mode="train", is_sampled=True, **changed):
    sums = RolloutSums(**{**HEALTHY, **changed})
    return SimpleNamespace(mode=mode, rollout=SimpleNamespace(is_sampled=is_sampled), sums=sums)


@pytest.fixture
def said():
    return []


@pytest.fixture
def monitor(said):
    return FirstRollouts(FindingLog(said.append), limit=48, stops=True)


def test_only_the_first_sampled_responses_of_training_are_judged(monitor, said):
    for seen in (observation("eval", **EQUAL), observation(is_sampled=False, **EQUAL)):
        for _ in range(8):
            monitor.see(seen)
    for _ in range(4):
        monitor.see(observation())
    for _ in range(8):
        monitor.see(observation(**EQUAL))  # it has learnt
    assert said == []


def test_it_is_said_once(monitor, said):
    for _ in range(8):
        monitor.see(observation(**EQUAL))
    [message] = said
    assert message.startswith("the first 32 responses are as likely to the teacher as to the student")


def test_a_resumed_run_is_not_at_its_beginning(monitor, said):
    monitor.load(Path("checkpoint-40"))
    for _ in range(8):
        monitor.see(observation(**EQUAL))
    assert said == []
