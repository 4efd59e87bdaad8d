"""Names behind which there is no model."""

import pytest
from httpx import Request, Response
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from crossdistill.errors import InputError
from crossdistill.inspection.missing_model import explained, near_folder
from crossdistill.inspection.model_files import read_config


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("smollm2-135m-instruct", "gemma-3-270m"):
        (tmp_path / "models" / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("models/smolm2-135m-instruct", "models/smollm2-135m-instruct"),
        ("models/gemma3-270m", "models/gemma-3-270m"),
        ("modls", "models"),
        ("models/qwen", None),
        ("Qwen/Qwen3-8B", None),
    ],
)
def test_folders_of_nearly_this_name(folder, name, near):
    assert near_folder(name) == near


def test_a_misspelt_folder(folder):
    name = str(folder / "models" / "gemma3-270m")
    with pytest.raises(InputError, match=r"\(there is no such folder\): did you mean '.*models/gemma-3-270m'\? Other"):
        read_config(name)


def after(kind):
    """What transformers raises after this error of the hub."""
    error = OSError("You are trying to access a gated repo.")
    error.__cause__ = kind("401", response=Response(401, request=Request("GET", "https://hub")))
    return error


def test_a_gated_model():
    reason, way_out = explained("google/gemma-3-270m", after(GatedRepoError), "You are trying ...")
    assert reason == "it is gated, and this machine has no token that may read it"
    assert "/google/gemma-3-270m, and log in with `hf auth login` or HF_TOKEN" in way_out


def test_a_model_that_the_hub_does_not_have():
    reason, _ = explained("google/gema", after(RepositoryNotFoundError), "...")
    assert "no such model on the hub, or it is private and HF_TOKEN may not read it" in reason


@pytest.mark.parametrize("is_offline", [True, False])
def test_a_hub_that_is_switched_off(monkeypatch, is_offline):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", is_offline)
    reason, _ = explained("nobody/nothing", OSError("no connection"), "no connection")
    assert ("HF_HUB_OFFLINE" in reason) is is_offline
    assert (reason == "no connection") is not is_offline


def test_a_folder_that_is_there_keeps_its_reason(folder):
    assert explained("models", OSError("damaged"), "damaged")[0] == "damaged"
