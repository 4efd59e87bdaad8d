"""Weights as files: all of them, as they were when they were named, and gone afterwards."""

import stat

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from crossdistill.train.vllm.weight_files import weight_files


def loaded(folder):
    found = {}
    for path in sorted(folder.iterdir()):
        shard = load_file(path)
        assert not found.keys() & shard.keys()
        found.update(shard)
    return found


@pytest.mark.parametrize(("shard_bytes", "files"), [(1, 4), (100, 2), (10**6, 1)])
def test_every_weight_is_in_a_file(tmp_path, shard_bytes, files):
    weights = {name: torch.randn(10) for name in "abc"} | {"d": torch.randn(4, 4).T.bfloat16()}
    with weight_files(tmp_path / "new", weights.items(), shard_bytes) as folder:
        assert len(list(folder.iterdir())) == files
        found = loaded(folder)
        assert found.keys() == weights.keys()
        assert all(torch.equal(found[name], weights[name]) for name in weights)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755
        with safe_open(folder / "model-00001.safetensors", "pt") as file:
            assert file.metadata() == {"format": "pt"}  # without it transformers refuses to read the file
    assert list((tmp_path / "new").iterdir()) == []


def test_weights_that_change_as_the_iteration_goes_on(tmp_path):
    """Adapters are taken out of the weights again at the end of an iteration, and ZeRO frees what it gathered."""
    buffer = torch.ones(3, requires_grad=True)

    def params():
        for step in (1.0, 2.0):
            yield f"at {step:g}", buffer.data.fill_(step)
        buffer.data.fill_(-1)

    with weight_files(tmp_path, params()) as folder:
        assert {name: value.tolist() for name, value in loaded(folder).items()} == {"at 1": [1] * 3, "at 2": [2] * 3}


def test_nothing_is_named_before_it_is_whole_and_nothing_is_left_behind(tmp_path):
    def params():
        yield "first", torch.ones(2)
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"), weight_files(tmp_path, params(), shard_bytes=1):
        raise AssertionError("named")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(KeyboardInterrupt), weight_files(tmp_path, [("a", torch.ones(2))]):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
