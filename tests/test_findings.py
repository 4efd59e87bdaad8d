from collections.abc import Iterator

import pytest

from crossdistill.findings import KINDS, FindingError, FindingLog, Kind, Severity, When


@pytest.fixture
def kinds() -> Iterator[tuple[Kind, ...]]:
    sentence = "{thing} is odd: change it."
    yield tuple(Kind(name, name, When.DURING, sentence, "harm") for name in Severity)
    for name in Severity:
        del KINDS[name]


def test_a_refusal_is_raised_and_a_warning_is_said_once(kinds):
    refusal, warning, _ = kinds
    said = []
    log = FindingLog(said.append)
    log.add_all([warning(thing="a"), warning(thing="b"), warning(thing="a")])
    assert said == ["a is odd: change it.", "b is odd: change it."]
    with pytest.raises(FindingError, match="c is odd") as caught:
        log.add(refusal(thing="c"))
    assert caught.value.finding.kind is refusal
    assert [entry["kind"] for entry in log.as_list()] == ["warning", "warning"]


def test_only_the_emitter_speaks_and_every_process_keeps_the_finding(kinds):
    said = []
    log = FindingLog(said.append, is_emitter=False)
    log.add(kinds[1](thing="a"))
    assert said == [] and len(log.findings) == 1


def test_two_kinds_of_one_name_are_refused(kinds):
    with pytest.raises(ValueError, match="two kinds"):
        Kind("refusal", Severity.REFUSAL, When.DURING, "", "")


def test_a_notice_is_kept_and_logged_at_level_info(kinds, caplog):
    log = FindingLog()
    with caplog.at_level("INFO", "crossdistill"):
        log.add(kinds[2](thing="a"))
    assert [(record.levelname, record.message) for record in caplog.records] == [("INFO", "a is odd: change it.")]
    assert log.as_list() == [{"kind": "notice", "severity": "notice", "message": "a is odd: change it."}]
