import json
from pathlib import Path

import numpy as np
import pytest

import crossdistill
from crossdistill import InputError
from crossdistill.align import DropReason
from crossdistill.report.versions import versions
from crossdistill.runs.run_file import read_run, write_json


def test_round_trip_makes_the_folder(tmp_path: Path) -> None:
    run = {"objective": "dpca", "seed": 3, "metrics": {"after": {"mean": 0.5, "ci": [0.4, 0.6]}}, "student": "né"}
    write_json(tmp_path / "runs" / "one" / "run.json", run)
    assert read_run(tmp_path / "runs" / "one") == run


def test_values_of_other_libraries_become_plain(tmp_path: Path) -> None:
    data = {
        "array": np.array([[1.5, np.nan]], dtype=np.float32),
        "scalar": np.int64(7),
        "double": np.float64(0.5),
        "path": tmp_path,
        DropReason.NON_FINITE: (1, float("inf")),
        3: True,
    }
    write_json(tmp_path / "run.json", data)
    assert read_run(tmp_path) == {
        "array": [[1.5, None]],
        "scalar": 7,
        "double": 0.5,
        "path": str(tmp_path),
        "non_finite": [1, None],
        "3": True,
    }


def test_a_lone_surrogate_survives(tmp_path: Path) -> None:
    write_json(tmp_path / "run.json", {"student": "a\udc80"})
    assert read_run(tmp_path) == {"student": "a\udc80"}


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    write_json(path, {"old": 1})
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(path, {"new": object()})

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text()) == {"old": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "has no run.json"), ("{", "is not JSON"), ("[]", "holds a list, not a JSON object")],
)
def test_a_folder_without_a_run(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=message):
        read_run(tmp_path)


def test_versions() -> None:
    found = versions()
    assert found["crossdistill"] == crossdistill.__version__
    assert found["python"].startswith("3.")
    assert set(found) >= {"torch", "transformers", "trl"}
