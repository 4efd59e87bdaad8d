"""The state that FSDP writes into a checkpoint, in two layouts: who can go on from it, and whether it is whole."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_WEIGHTS = "pytorch_model_fsdp"  # a folder of shards, or a file with all
_FILES = (f"{_WEIGHTS}.bin", "optimizer.bin")
_FOLDERS = (f"{_WEIGHTS}_0", "optimizer_0")
_METADATA = ".metadata"
_SHARD = re.compile(rb"__\d+_\d+\.distcp")
_END_OF_ZIP, _END_OF_PICKLE = b"PK\x05\x06", b"."
_END_OF_ZIP_BYTES = 22  # of a zip file without a comment, as torch writes it


@dataclass(frozen=True)
class FSDPState:
    """How FSDP writes a run's state; any number of processes can read it.

    Attributes:
        is_sharded: whether each process writes its part: SHARDED_STATE_DICT.

    Example:
        >>> str(FSDPState(is_sharded=True))
        'with FSDP and SHARDED_STATE_DICT'
    """

    is_sharded: bool

    @classmethod
    def saved_in(cls, checkpoint: Path) -> "FSDPState | None":
        """That of a checkpoint, of which a part may be missing; None if FSDP did not write it."""
        if any((checkpoint / name).is_file() for name in _FILES):
            return cls(is_sharded=False)
        is_sharded = any((checkpoint / name).is_dir() for name in _FOLDERS)
        return cls(is_sharded=True) if is_sharded else None

    def __str__(self) -> str:
        return f"with FSDP and {'SHARDED' if self.is_sharded else 'FULL'}_STATE_DICT"


def fsdp_faults(checkpoint: Path) -> Iterator[str]:
    """Why FSDP's weights and optimizer in a checkpoint are not whole, as clauses."""
    state = FSDPState.saved_in(checkpoint)
    if state is not None and state.is_sharded:
        for name in _FOLDERS:
            yield from _shard_faults(checkpoint, name)
    else:
        yield from _part_faults(checkpoint, _FILES)


def _shard_faults(checkpoint: Path, folder: str) -> Iterator[str]:
    """Of a folder of torch.distributed.checkpoint, whose metadata is a pickle that names the files; it is not run."""
    metadata = checkpoint / folder / _METADATA
    content = metadata.read_bytes() if metadata.is_file() else None
    if content is None:
        yield f"it has no {folder}/{_METADATA}"
    elif not content.endswith(_END_OF_PICKLE):
        yield f"its {folder}/{_METADATA} is damaged"
    else:
        shards = sorted({name.decode() for name in _SHARD.findall(content)})
        yield from _part_faults(checkpoint, [f"{folder}/{name}" for name in shards])


def _part_faults(checkpoint: Path, names: list[str] | tuple[str, ...]) -> Iterator[str]:
    for name in names:
        path = checkpoint / name
        if not path.is_file():
            yield f"it has no {name}"
        elif not _ends_as_zip(path):
            yield f"its {name} is damaged"


def _ends_as_zip(path: Path) -> bool:
    """Whether a file ends as torch writes it; a shard is several zip files, so that a cut one may hold whole ones."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _END_OF_ZIP_BYTES))
        return file.read().startswith(_END_OF_ZIP)
