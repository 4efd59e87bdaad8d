"""The figures of a run inside of verl are those of a trainer of ours."""

from dataclasses import replace

import pytest

from crossdistill.errors import InputError, TeacherError
from crossdistill.integrations.verl.options import parse
from crossdistill.integrations.verl.record import Record
from crossdistill.integrations.verl.scoring import SampleScorer
from crossdistill.integrations.verl.watch import Watch
from crossdistill.train.monitor.coverage_guard import LowCoverageError
from crossdistill.train.monitor.rollout_sums import RolloutSums
from crossdistill.train.monitor.watchdog import BLOCK_RESPONSES, NUM_BLOCKS
from tests.integrations.verl.pair import samples, teaching


@pytest.fixture(scope="module")
def records() -> list[Record]:
    return [item.record for item in SampleScorer(teaching()).score(samples())]


def watch(said: list[str], **options) -> Watch:
    return Watch(parse({"teacher": "org/teacher", **options}), *teaching().vocabs(), emit=said.append)


def test_metrics_are_those_of_the_sums(records):
    metrics = watch([]).see(records, step=0)
    sums = RolloutSums()
    for record in records:
        sums.add(record.sums)
    assert {f"crossdistill/{name}": value for name, value in sums.metrics().items()}.items() <= metrics.items()
    assert {"teacher_gap", "coverage", "stopped", "response_tokens"} <= {name.partition("/")[2] for name in metrics}
    assert metrics["crossdistill/warnings"] == 0


def test_what_was_dropped_is_counted_by_reason(records):
    lost = replace(records[0], dropped={"unencodable": (3, 7)})
    assert watch([]).see([lost], step=0)["crossdistill/dropped/unencodable"] == 3


def test_a_change_is_said_once_and_logged(records, tmp_path):
    said: list[str] = []
    seen = watch(said)
    sums = RolloutSums(*records[0].sums)
    longer = replace(sums, sampled_tokens=20 * sums.sampled_tokens, stopped=0)
    steps = NUM_BLOCKS * BLOCK_RESPONSES
    for step in range(steps):
        seen.see([records[0]], step)
    seen.save(tmp_path)
    resumed = watch(said)
    resumed.load(tmp_path)
    metrics = {}
    for step in range(steps, 2 * steps):
        metrics = resumed.see([replace(records[0], sums=longer.values())], step)
    assert metrics["crossdistill/warning/length"] == metrics["crossdistill/warnings"] == 1
    assert len(said) == 1
    assert "the length of the responses explodes" in said[0]


def test_errors_are_raised():
    seen = watch([])
    with pytest.raises(InputError, match="bad"):
        seen.see([Record.of_error(InputError("bad."))], step=3)
    with pytest.raises(TeacherError, match="gone"):
        seen.see([Record.of_error(TeacherError("gone."))], step=3)


def unsupervised(record: Record) -> Record:
    sums = RolloutSums(*record.sums)
    tokens, num_bytes = int(sums.sampled_tokens), int(sums.sampled_bytes)
    empty = replace(sums, supervised_tokens=0, supervised_bytes=0)
    return Record(empty.values(), {"teacher_context": (tokens, num_bytes)})


def test_a_batch_without_a_signal_would_divide_by_nothing(records):
    with pytest.raises(LowCoverageError, match=r"supervises no token of the batch after step 4 .teacher context"):
        watch([]).see([unsupervised(record) for record in records], step=4)


def test_low_coverage_stops_the_run(records):
    batch = [*[unsupervised(record) for record in records] * 200, records[0]]
    seen = watch([])
    with pytest.raises(LowCoverageError, match="the run stopped after a checkpoint at step 3"):
        for step in range(10):
            seen.see(batch, step)
    said: list[str] = []
    watching = watch(said, low_coverage="warn")
    for step in range(10):
        watching.see(batch, step)
    assert len(said) == 1
