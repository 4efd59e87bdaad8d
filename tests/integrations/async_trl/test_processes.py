"""Two processes train as one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models import save_pair

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_two_processes_train_as_one_does(tmp_path: Path) -> None:
    save_pair(tmp_path)
    for count in (1, 2):
        launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(count), "-m"]
        command = [sys.executable, "-m", *launcher, "tests.integrations.async_trl.processes", str(tmp_path), str(count)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": ""}
        run = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert run.returncode == 0, run.stderr[-4000:]
    one, two = (torch.load(tmp_path / f"after-{count}.pt", weights_only=True) for count in (1, 2))
    assert one.keys() == two.keys()
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=1e-4)
