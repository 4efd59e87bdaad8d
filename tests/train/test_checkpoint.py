"""Which checkpoints are whole, and from which one a run goes on."""

import json
import logging
import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch.distributed.checkpoint import FileSystemWriter, save

from crossdistill import InputError
from crossdistill.findings import FindingError
from crossdistill.runs.folder import RunFolder
from crossdistill.train.checkpoint import Contents, checkpoint_to_resume, newest_whole
from crossdistill.train.fsdp_state import FSDPState
from crossdistill.train.zero_state import ZeroState

STATE = {"weight": torch.arange(64.0)}


def checkpoint(folder: Path, step: int, num_processes: int = 1) -> Path:
    """A whole one, as transformers writes it."""
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    save_file(STATE, path / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "training_args.bin"):
        torch.save(STATE, path / name)
    for rank in range(num_processes):
        torch.save(STATE, path / ("rng_state.pth" if num_processes == 1 else f"rng_state_{rank}.pth"))
    (path / "usage.json").write_text("{}")
    (path / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def shard(path: Path, *names: str) -> None:
    (path / "model.safetensors").unlink()
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys("ab", names[-1])}))
    for name in names[:-1]:
        save_file(STATE, path / name)


CONTENTS = Contents(own=("usage.json",))


@pytest.mark.parametrize(
    "name", ["trainer_state.json", "model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "usage.json"]
)
@pytest.mark.parametrize("how", ["missing", "cut", "empty"])
def test_a_file_that_lacks_or_was_cut(tmp_path, name, how):
    older, newer = checkpoint(tmp_path, 9), checkpoint(tmp_path, 10)
    if how == "missing":
        (newer / name).unlink()
    elif how == "empty" or name.endswith("json"):
        (newer / name).write_bytes(b"" if how == "empty" else b'{"a": ')
    else:
        cut(newer / name)
    assert name.replace("model.safetensors", "") in CONTENTS.fault(newer)
    assert CONTENTS.fault(older) is None
    assert checkpoint_to_resume(True, tmp_path, CONTENTS) == older
    with pytest.raises(InputError, match=r"checkpoint-10 cannot be resumed, because .*: name a whole one"):
        checkpoint_to_resume(str(newer), tmp_path, CONTENTS)


def test_what_is_passed_over_is_said(tmp_path, caplog):
    checkpoint(tmp_path, 1)
    (checkpoint(tmp_path, 2) / "optimizer.pt").unlink()
    with caplog.at_level(logging.WARNING, "crossdistill"):
        checkpoint_to_resume(True, tmp_path, CONTENTS)
    assert "checkpoint-2 is passed over, because it has no optimizer.pt" in caplog.text


def test_newest_by_number(tmp_path):
    for step in (2, 10, 9):
        checkpoint(tmp_path, step)
    for name in ("checkpoint-best", "checkpoint-12.tmp", "checkpoint-"):  # none of transformers
        (tmp_path / name).mkdir()
    assert checkpoint_to_resume(True, tmp_path, CONTENTS).name == "checkpoint-10"


@pytest.mark.parametrize("wanted", [None, False])
def test_beginning_anew(tmp_path, wanted):
    checkpoint(tmp_path, 1)
    assert checkpoint_to_resume(wanted, tmp_path, CONTENTS) is None


def test_no_checkpoint(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError, match=r"there is no checkpoint to resume in .*: train without resume_from"):
            checkpoint_to_resume(True, folder, CONTENTS)
    (checkpoint(tmp_path, 2) / "scheduler.pt").unlink()
    with pytest.raises(InputError, match=r"that is whole \(checkpoint-2: it has no scheduler.pt\)"):
        checkpoint_to_resume(True, tmp_path, CONTENTS)


def test_a_path_that_is_no_checkpoint(tmp_path):
    checkpoint(tmp_path, 2)
    with pytest.raises(InputError, match="there is no such folder"):
        checkpoint_to_resume(tmp_path / "checkpoint-3", tmp_path, CONTENTS)
    with pytest.raises(InputError, match=r"\(it holds checkpoint-2, which is one\)"):
        checkpoint_to_resume(tmp_path, tmp_path, CONTENTS)


@pytest.mark.parametrize("wanted", [2, 1, 0, 2.0, ["checkpoint-2"]])
def test_what_is_no_path(tmp_path, wanted):
    checkpoint(tmp_path, 2)
    with pytest.raises(InputError, match=r"resume_from_checkpoint is .* of type .*: give the path of a checkpoint, or"):
        checkpoint_to_resume(wanted, tmp_path, Contents())


def test_each_process_needs_its_random_state(tmp_path):
    whole, half = checkpoint(tmp_path, 1, num_processes=2), checkpoint(tmp_path, 2, num_processes=2)
    (half / "rng_state_1.pth").unlink()
    folder = RunFolder(tmp_path)
    two = Contents(2)
    assert two.fault(half) == "it has the random states of 1 processes of 2"
    assert two.fault(whole) is None
    assert folder.checkpoints == tmp_path / "checkpoints"


@pytest.mark.parametrize(("written", "resumed"), [(2, 1), (1, 2), (2, 3)])
def test_another_number_of_processes_may_go_on(tmp_path, written, resumed):
    path = checkpoint(tmp_path, 1, num_processes=written)
    (path / "processes.json").write_text(json.dumps({"num_processes": written}))
    assert Contents(resumed).fault(path) is None
    if written > 1:
        (path / "rng_state_1.pth").unlink()
        assert Contents(resumed).fault(path) == "it has the random states of 1 processes of 2"


def fsdp_checkpoint(folder: Path, step: int = 1, is_sharded: bool = True) -> Path:
    """Of two processes, written by torch.distributed.checkpoint if it is sharded."""
    path: Path = checkpoint(folder, step, num_processes=2)
    (path / "processes.json").write_text(json.dumps({"num_processes": 2}))
    for name in ("model.safetensors", "optimizer.pt"):
        (path / name).unlink()
    for name in ("pytorch_model_fsdp", "optimizer"):
        if is_sharded:
            writer = FileSystemWriter(path / f"{name}_0", single_file_per_rank=False)  # a file for each tensor
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "torch.distributed is disabled")  # as is meant here
                save({"a": torch.ones(64), "b": torch.ones(64)}, storage_writer=writer)
        else:
            torch.save(STATE, path / f"{name}.bin")
    return path


@pytest.mark.parametrize("is_sharded", [True, False])
def test_the_layouts_of_fsdp(tmp_path, is_sharded):
    path = fsdp_checkpoint(tmp_path, is_sharded=is_sharded)
    ours = FSDPState(is_sharded)
    assert newest_whole(tmp_path, Contents(engine=ours)) == path
    layout = "SHARDED" if is_sharded else "FULL"
    told = f"checkpoint-1 was written with FSDP and {layout}_STATE_DICT, and this run is launched"
    for other in (FSDPState(not is_sharded), None):
        with pytest.raises(FindingError, match=f"{told} with.*: launch it with FSDP and {layout}"):
            newest_whole(tmp_path, Contents(engine=other))


IN_SHARDS = ["optimizer_0", "pytorch_model_fsdp_0", "optimizer_0/.metadata", "optimizer_0/__0_1.distcp"]
IN_FILES = ["optimizer.bin", "pytorch_model_fsdp.bin"]
OF_ALL = ["scheduler.pt", "rng_state_1.pth", "usage.json", "trainer_state.json"]


@pytest.mark.parametrize(
    ("is_sharded", "name"),
    [*((True, name) for name in IN_SHARDS + OF_ALL), *((False, name) for name in IN_FILES + OF_ALL)],
)
@pytest.mark.parametrize("how", ["missing", "cut", "cut by a part"])
def test_damaged_state_of_fsdp(tmp_path, is_sharded, name, how):
    """transformers would crash, or go on with a new optimizer."""
    older, path = (fsdp_checkpoint(tmp_path, step, is_sharded) for step in (1, 2))
    contents = replace(CONTENTS, num_processes=2, engine=FSDPState(is_sharded))
    assert contents.fault(path) is None
    damaged = path / name
    if damaged.is_dir():
        shutil.rmtree(damaged)
    elif how == "missing":
        damaged.unlink()
    elif damaged.suffix == ".json":
        damaged.write_text('{"a": ')
    elif how == "cut":
        cut(damaged)
    else:
        damaged.write_bytes(damaged.read_bytes()[:100])
    assert any(word in contents.fault(path) for word in (name, "random states of 1 processes of 2"))
    assert newest_whole(tmp_path, contents) == older


def test_a_shard_that_is_cut_behind_a_whole_tensor(tmp_path):
    """It is several zip files, one behind the other."""
    path = fsdp_checkpoint(tmp_path)
    shard_ = path / "optimizer_0/__0_0.distcp"
    shard_.write_bytes(shard_.read_bytes() * 2)
    assert Contents(2).fault(path) is None
    cut(shard_)
    assert Contents(2).fault(path) == "its optimizer_0/__0_0.distcp is damaged"


def test_a_run_that_saves_weights_alone(tmp_path):
    """transformers would go on from them with a new optimizer and a learning rate that begins anew."""
    path = checkpoint(tmp_path, 1)
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        (path / name).unlink()
    assert "it holds the model alone (save_only_model)" in Contents(has_optimizer=False).fault(path)
    assert Contents().fault(path) == "it has no optimizer.pt"


def test_shards(tmp_path):
    path = checkpoint(tmp_path, 1)
    shard(path, "model-1.safetensors", "model-1.safetensors")
    assert Contents().fault(path) is None
    shard(checkpoint(tmp_path, 2), "model-1.safetensors", "model-2.safetensors")
    assert Contents().fault(tmp_path / "checkpoint-2") == "it has no model-2.safetensors"
    cut(path / "model-1.safetensors")
    assert Contents().fault(path) == "its model-1.safetensors is damaged"


@pytest.mark.parametrize("place", [".", "named"])  # PEFT writes adapters that have names into folders
def test_adapters(tmp_path, place):
    path = checkpoint(tmp_path, 1)
    (path / place).mkdir(exist_ok=True)
    adapter = (path / "model.safetensors").rename(path / place / "adapter_model.safetensors")
    assert Contents().fault(path) is None
    cut(adapter)
    assert "adapter_model.safetensors is damaged" in Contents().fault(path)


@pytest.mark.parametrize("name", ["rank0-of-2-optimizer.pt", "user_content.pt"])
def test_layouts_of_xla_and_sagemaker_are_not_judged(tmp_path, name):
    path = checkpoint(tmp_path, 1)
    for missing in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        (path / missing).unlink()
    (path / name).write_bytes(b"")
    assert CONTENTS.fault(path) is None
    (path / "trainer_state.json").unlink()
    assert "trainer_state.json" in CONTENTS.fault(path)


def zero_checkpoint(folder: Path, num_processes: int = 2, stage: int = 3, dtype: str = "") -> Path:
    """As DeepSpeed writes it: the optimizer of each process, and the weights of each, or once if they are whole."""
    path: Path = checkpoint(folder, 2, num_processes=num_processes)
    for name in ("model.safetensors", "optimizer.pt", "scheduler.pt"):
        (path / name).unlink()
    state = path / "global_step2"
    state.mkdir()
    (path / "latest").write_text(state.name)
    for rank in range(num_processes):
        torch.save({}, state / f"{dtype}zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
        if stage == 3:
            torch.save({}, state / f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt")
    if stage < 3:
        torch.save({}, state / "mp_rank_00_model_states.pt")
    return path


@pytest.mark.parametrize("stage", [2, 3])
@pytest.mark.parametrize("num_processes", [1, 2])
@pytest.mark.parametrize("dtype", ["", "bf16_"])
def test_state_of_deepspeed(tmp_path, stage, num_processes, dtype):
    path = zero_checkpoint(tmp_path, num_processes, stage, dtype)
    state = ZeroState(num_processes, has_parts_of_weights=stage == 3, is_bf16=bool(dtype))
    assert ZeroState.saved_in(path) == state
    assert checkpoint_to_resume(True, tmp_path, Contents(num_processes, engine=state)) == path
    (path / "usage.json").unlink()
    assert Contents(num_processes, engine=state, own=("usage.json",)).fault(path) == "it has no usage.json"


@pytest.mark.parametrize(
    ("damage", "fault"),
    [
        (
            lambda path: (path / "zero_pp_rank_1_mp_rank_00_optim_states.pt").unlink(),
            "the optimizer of 1 processes of 2",
        ),
        (lambda path: (path / "zero_pp_rank_0_mp_rank_00_model_states.pt").unlink(), "the weights of 1 processes of 2"),
        (lambda path: cut(path / "zero_pp_rank_1_mp_rank_00_model_states.pt"), "model_states.pt is damaged"),
        (lambda path: path.rename(path.parent / "elsewhere"), "the optimizer of 0 processes of 2"),
    ],
)
def test_damaged_state_of_deepspeed(tmp_path, damage, fault):
    path = zero_checkpoint(tmp_path)
    contents = Contents(2, engine=ZeroState.saved_in(path))
    damage(path / "global_step2")
    assert fault in contents.fault(path)


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (ZeroState(3, True, False), "launched with ZeRO-3 on 3 processes"),
        (ZeroState(2, False, False), "launched with ZeRO-2 on 2 processes"),
        (ZeroState(2, True, True), "launched with ZeRO-3 in bfloat16 on 2 processes"),
        (None, "launched without FSDP or DeepSpeed"),
    ],
)
@pytest.mark.parametrize("wanted", ["newest", "named"])
def test_state_of_another_launch_is_refused(tmp_path, now, words, wanted):
    """DeepSpeed would crash, or go on with a new optimizer."""
    path = zero_checkpoint(tmp_path)
    with pytest.raises(InputError, match=f"written with ZeRO-3 on 2 processes, and this run is {words}, which"):
        checkpoint_to_resume(True if wanted == "newest" else path, tmp_path, Contents(3, engine=now))


def test_deepspeed_goes_on_from_its_own_state_alone(tmp_path):
    checkpoint(tmp_path, 1)
    with pytest.raises(
        InputError, match="was written without FSDP or DeepSpeed, and this run is launched with ZeRO-2 on 2 pro"
    ):
        checkpoint_to_resume(True, tmp_path, Contents(engine=ZeroState(2, False, False)))


def test_files_of_the_user_are_not_judged(tmp_path):
    path = checkpoint(tmp_path, 1)
    (path / "notes.txt").write_text("the best so far")
    (path / "vocab.bin").write_bytes(b"no zip")
    assert CONTENTS.fault(path) is None


def test_files_have_the_names_that_transformers_gives_them():
    from transformers import trainer

    from crossdistill.train import checkpoint

    for name in ("OPTIMIZER_NAME", "SCHEDULER_NAME", "TRAINER_STATE_NAME"):
        assert getattr(checkpoint, name) == getattr(trainer, name)
