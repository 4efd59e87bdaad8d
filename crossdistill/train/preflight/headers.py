"""Tensors as the headers of their files tell them: names, shapes and dtypes, without weights."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

_COMPUTED_WITH = {"F64", "F32", "F16", "BF16", "C64", "float64", "float32", "float16", "bfloat16", "complex64"}


@dataclass(frozen=True)
class Header:
    """What a file says of a tensor.

    Attributes:
        shape: its sizes.
        dtype: as the format calls it, such as ``BF16`` of safetensors and ``bfloat16`` of torch.
    """

    shape: tuple[int, ...]
    dtype: str

    @property
    def num_elements(self) -> int:
        """Numbers that the file holds of it."""
        return prod(self.shape)

    @property
    def is_computed_with(self) -> bool:
        """Whether the numbers are those of the model; integers and 8-bit floats stand for others, by some scale.

        Example:
            >>> Header((2,), "BF16").is_computed_with, Header((2,), "I8").is_computed_with
            (True, False)
        """
        return self.dtype in _COMPUTED_WITH


class NotTensorsError(ValueError):
    """A file of torch holds something else than tensors by name."""


def headers(path: Path) -> dict[str, Header]:
    """The tensors of a file, by name.

    Args:
        path: of safetensors, or of torch; nothing but tensors is unpickled.

    Raises:
        NotTensorsError: it holds something else.
    """
    if path.suffix != ".safetensors":
        return {name: Header(tuple(value.shape), str(value.dtype)[6:]) for name, value in _of_torch(path).items()}
    with safe_open(path, framework="pt") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 the file is no mapping
        return {name: Header(tuple(one.get_shape()), one.get_dtype()) for name, one in slices.items()}


def empty_tensors(files: Iterable[Path]) -> dict[str, Tensor]:
    """Tensors of the names and shapes in files, on the meta device: no weights are read."""
    found = {name: header for path in files for name, header in headers(path).items()}
    return {name: torch.empty(header.shape, device="meta") for name, header in found.items()}


def read_tensor(path: Path, name: str) -> Tensor:
    """One tensor of a file, read."""
    if path.suffix != ".safetensors":
        found: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        return found[name]
    with safe_open(path, framework="pt") as file:
        return file.get_tensor(name)


def _of_torch(path: Path) -> Mapping[str, Tensor]:
    try:
        found: Any = torch.load(path, map_location="meta", weights_only=True)
    except UnpicklingError:
        raise NotTensorsError("it holds other objects than tensors, which are not unpickled") from None
    if not isinstance(found, Mapping):
        raise NotTensorsError(f"it holds a {type(found).__name__}, not tensors by name")
    other = next((name for name, value in found.items() if not isinstance(value, Tensor)), None)
    if other is not None:
        raise NotTensorsError(
            f"its {other!r} is a {type(found[other]).__name__}, not a tensor: it holds more than weights"
        )
    return found
