"""What is exported of a run: its model or one of its checkpoints, found without reading weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_config
from crossdistill.runs.evaluated_model import ADAPTER, base_of
from crossdistill.runs.folder import RunFolder
from crossdistill.train.preflight.headers import headers
from crossdistill.train.preflight.weight_files import read_headers, weight_files
from crossdistill.train.preflight.weights import check_weights

ADAPTER_WEIGHTS = "adapter_model.safetensors"
_CHECKPOINT = "checkpoint-"


@dataclass(frozen=True)
class ExportSource:
    """A folder with a model or an adapter.

    Attributes:
        folder: of the model or adapter.
        base: folder or hub id of the model that an adapter belongs to; None of a whole model.
        note: what was taken, if that is not plain; for the user.
    """

    folder: Path
    base: str | None
    note: str = ""

    def check(self) -> None:
        """Check that its weights, and those of its base, can be read, as far as the files tell.

        Raises:
            InputError: they cannot.
        """
        if self.base is None:
            check_weights("model", str(self.folder), {})
            return
        self.check_adapter()
        try:
            config = read_config(self.base)
        except InputError as error:
            raise InputError(
                f"the base model {self.base!r} of the adapter in {self.folder} is not found here: name its folder or "
                f"hub id with --base. {str(error)[:1].upper()}{str(error)[1:]}"
            ) from None
        if is_quantised(config):
            raise InputError(
                f"the base model {self.base!r} is quantised, and what an adapter adds does not fit into its weights: "
                "name the model that it was made from with --base, or leave out --merge and serve the adapter."
            )
        check_weights("base model", self.base, {})

    def check_adapter(self) -> None:
        """Check that the adapter's file is whole; its base is not looked at.

        Raises:
            InputError: it is not.
        """
        read_headers([self.folder / ADAPTER_WEIGHTS])

    @property
    def keeps_tied(self) -> bool:
        """Whether the adapter changes embeddings and output layer as one."""
        return bool(json.loads((self.folder / ADAPTER).read_text(encoding="utf-8")).get("ensure_weight_tying"))

    def adapter_shapes(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the adapter's tensors, by name."""
        return {name: header.shape for name, header in headers(self.folder / ADAPTER_WEIGHTS).items()}


def is_quantised(config: Any) -> bool:
    """Whether the files of a model hold quantised weights."""
    text = config.get_text_config()
    return bool(getattr(config, "quantization_config", None) or getattr(text, "quantization_config", None))


def find_source(run: Path, checkpoint: int | None, base: str | None) -> ExportSource:
    """What is to be exported.

    Args:
        run: a run's folder, a trainer's ``output_dir``, or the folder of a model or an adapter.
        checkpoint: step of the checkpoint; by default the run's final model, or the newest checkpoint without one.
        base: of an adapter, in place of the one that it names.

    Raises:
        InputError: there is no such run or checkpoint, or it has no weights.
    """
    folder, note = _folder(run, checkpoint)
    is_adapter = (folder / ADAPTER).is_file()
    if base is not None and not is_adapter:
        raise InputError(f"{folder} holds a whole model, not an adapter: leave out --base.")
    return ExportSource(folder, (base or base_of(str(folder))) if is_adapter else None, note)


def _folder(run: Path, checkpoint: int | None) -> tuple[Path, str]:
    folder = RunFolder(run)
    found = _checkpoints(run)
    if checkpoint is not None:
        if checkpoint not in found:
            there = ", ".join(map(str, found)) or "none"
            raise InputError(f"{run} has no whole checkpoint of step {checkpoint} (it has: {there}): name another one.")
        return found[checkpoint], ""
    if folder.run.exists() and _has_weights(folder.model):
        return folder.model, ""
    if found:
        newest = max(found)
        return found[newest], f"the run is not finished: its newest checkpoint, of step {newest}, is exported"
    if _has_weights(run) and not folder.checkpoints.exists():
        return run, ""
    reason = "holds no run and no model"
    if folder.config.exists():
        reason = "is not finished and has no whole checkpoint yet"
    raise InputError(f"{run} {reason}: name the folder of a run with a checkpoint, of a model or of an adapter.")


def _checkpoints(run: Path) -> dict[int, Path]:
    """Step -> checkpoint, of those with a whole model or adapter, oldest first."""
    paths = [*RunFolder(run).checkpoints.glob(f"{_CHECKPOINT}*"), *run.glob(f"{_CHECKPOINT}*")]
    steps = {path.name.removeprefix(_CHECKPOINT): path for path in paths if _is_whole(path)}
    return {int(step): steps[step] for step in sorted(filter(str.isdigit, steps), key=int)}


def _is_whole(checkpoint: Path) -> bool:
    """Whether the trainer's state is there, which is written last, and weights that need no engine to be loaded."""
    return (checkpoint / "trainer_state.json").is_file() and _has_weights(checkpoint)


def _has_weights(folder: Path) -> bool:
    if (folder / ADAPTER).is_file():
        return (folder / ADAPTER_WEIGHTS).is_file()
    if not (folder / "config.json").is_file():
        return False
    try:
        read_headers(weight_files(folder))
    except InputError:
        return False
    return True
