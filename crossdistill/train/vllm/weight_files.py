"""The student's weights as files that a vLLM server reads: whole before it is told of them, gone once it has them."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from crossdistill.errors import InputError

SHARD_BYTES = 2 * 2**30
"""Size of a file, and of what is held in memory while it is written; a larger tensor has a file of its own."""

Params = Iterable[tuple[str, Tensor]]


def check_folder(folder: str | Path, called: str) -> None:
    """Check that weights can be written into a folder; it is made if it is missing.

    Args:
        folder: of all weights.
        called: what the error calls it.

    Raises:
        InputError: they cannot.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder):
            pass
    except OSError as error:
        raise InputError(f"{called} cannot be written to ({error.strerror}): name another folder.") from error


@contextmanager
def weight_files(folder: Path, params: Params, shard_bytes: int = SHARD_BYTES) -> Iterator[Path]:
    """Weights in a new folder, for as long as the block runs.

    Args:
        folder: in which it is created; missing folders are created.
        params: names and tensors. They may be views of one buffer that changes as the iteration goes on.
        shard_bytes: see :data:`SHARD_BYTES`.

    Yields:
        The new folder, with every tensor in a safetensors file.

    Example:
        >>> with weight_files(Path(tempfile.gettempdir()), [("bias", torch.zeros(2))]) as written:
        ...     [path.name for path in written.iterdir()]
        ['model-00001.safetensors']
        >>> written.exists()
        False
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="weights-", dir=folder) as name:
        written = Path(name)
        written.chmod(0o755)  # the server may be another user's
        for number, shard in enumerate(_shards(params, shard_bytes), start=1):
            save_file(shard, written / f"model-{number:05}.safetensors", metadata={"format": "pt"})
        yield written


def _shards(params: Params, shard_bytes: int) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    held = 0
    for name, tensor in params:
        if shard and held + tensor.nbytes > shard_bytes:
            yield shard
            shard, held = {}, 0
        # always a copy: an iteration over adapters takes them out of the weights again, one over ZeRO's frees them
        shard[name] = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())
        held += tensor.nbytes
    if shard:
        yield shard
