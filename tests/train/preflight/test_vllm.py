"""Settings of vLLM rollouts that cannot work: told before weights are read."""

import os
from importlib import machinery
from types import SimpleNamespace

import pytest

from crossdistill.errors import InputError
from crossdistill.train.preflight import vllm
from crossdistill.train.preflight.vllm import check_vllm
from tests.train.harness import arguments, make_trainer


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm, "find_spec", lambda name: machinery.ModuleSpec(name, None))


SERVED = {"use_vllm": True, "vllm_mode": "server"}


@pytest.mark.parametrize("options", [{}, {"use_vllm": True, "vllm_mode": "colocate"}, {"vllm_mode": "server"}])
def test_a_folder_without_a_server(installed, output, options):
    with pytest.raises(
        InputError, match=r'^vllm_weights_folder is .*use_vllm = true and vllm_mode = "server", or leave'
    ):
        check_vllm(arguments(output, vllm_weights_folder="weights", **options))


def test_a_server_without_nccl_needs_a_folder(installed, output, tmp_path):
    with pytest.raises(InputError, match=r"by NCCL, which has no CPU: name a folder .* as vllm_weights_folder\.$"):
        check_vllm(arguments(output, **SERVED))
    check_vllm(arguments(output, vllm_weights_folder=str(tmp_path / "new" / "weights"), **SERVED))
    assert list((tmp_path / "new" / "weights").iterdir()) == []
    check_vllm(SimpleNamespace(vllm_weights_folder=None, device=SimpleNamespace(type="cuda"), **SERVED))


def test_a_folder_that_cannot_be_written_to(installed, output, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"'.*file' cannot be written to \(File exists\): name another folder\.$"):
        check_vllm(arguments(output, vllm_weights_folder=str(tmp_path / "file"), **SERVED))


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_of_somebody_else(installed, output, tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(InputError, match="Permission denied"):
        check_vllm(arguments(output, vllm_weights_folder=str(tmp_path), **SERVED))


def test_vllm_is_missing(pair, output, monkeypatch):
    monkeypatch.setattr(vllm, "find_spec", lambda name: None)
    monkeypatch.setattr("crossdistill.train.trainer.student_for_trl", None)
    with pytest.raises(InputError, match=r"use_vllm = true needs vllm, .* pip install 'crossdistill\[vllm\]'"):
        make_trainer(pair, output, use_vllm=True)
