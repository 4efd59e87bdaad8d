"""Two processes train as one does, and end together."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models import save_pair

ROOT = Path(__file__).parents[3]
pytestmark = [pytest.mark.slow, pytest.mark.long]


def run(folder: Path, count: int, *kind: str) -> subprocess.CompletedProcess[str]:
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m"]
    command = [sys.executable, "-m", *launcher, "tests.integrations.async_trl.processes", str(folder), str(count)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [*command, *kind], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )


def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    save_pair(tmp_path)
    for count in (1, 2):
        ended = run(tmp_path, count)
        assert ended.returncode == 0, ended.stderr[-4000:]
    one, two = (torch.load(tmp_path / f"after-{count}.pt", weights_only=True) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "message"),
    [("unplugged", "did not reach the engine that samples (OSError: unplugged)"), ("broken", "KeyError: 'broken'")],
)
def test_a_failure_ends_both(tmp_path: Path, kind: str, message: str) -> None:
    save_pair(tmp_path)
    ended = run(tmp_path, 2, kind)
    assert ended.returncode != 0
    assert message in ended.stderr
    assert (tmp_path / "output" / "checkpoint-1" / "rollout_state.json").exists() == (kind == "unplugged")
