"""The model of an evaluation: a folder, an adapter, a hub id or a server, as something that writes responses."""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from crossdistill.chat import ensure_template
from crossdistill.chat.stop import adopt_end
from crossdistill.errors import InputError
from crossdistill.eval.findings import SHORT_CONTEXT
from crossdistill.eval.generation.local import BATCH_TOKENS, context_of
from crossdistill.eval.generation.prompts import check_room, rendered
from crossdistill.findings import FindingLog
from crossdistill.inspection.model_files import declared_stops, read_config, read_tokenizer
from crossdistill.runs.planned_task import PlannedTask
from crossdistill.train.loading import load_model, moved
from crossdistill.train.preflight.weights import check_weights, loading

ADAPTER = "adapter_config.json"
_PLACES, _PLACE_BYTES = 64, 4096  # of each file of weights


@dataclass(frozen=True)
class ModelOptions:
    """How a model is loaded and run.

    Attributes:
        device: such as "cuda:0" or "cpu"; None takes a GPU if there is one.
        dtype: "auto" (that of its files), "float32" or "bfloat16".
        batch_tokens: most tokens of a batch, of prompts and of responses at their full length.
        trust_remote_code: whether the model's own code may be run.
    """

    device: str | None = None
    dtype: str = "auto"
    batch_tokens: int = BATCH_TOKENS
    trust_remote_code: bool = False


@dataclass(frozen=True)
class LocalModel:
    """A model in a folder or on the hub, whose weights are not read yet.

    Attributes:
        name: its folder or hub id; of an adapter, the adapter's.
        base: the model's own, or that of the model under an adapter.
        tokenizer: the model's.
        options: see above.
    """

    name: str
    base: str
    tokenizer: Any
    options: ModelOptions

    def check(self, planned: PlannedTask, log: FindingLog) -> None:
        """Check that the context holds the prompts of a task.

        Raises:
            InputError: it does not.
        """
        prompts = rendered(self.tokenizer, planned.problems, planned.sampling)
        context = context_of(read_config(self.base, **self._code))
        check_room(prompts, context)
        longest, limit = max(map(len, prompts.values()), default=0), planned.sampling.max_tokens
        if context is not None and longest + limit > context:
            log.add(SHORT_CONTEXT(context=context, task=planned.task.name, prompt=longest, limit=limit))

    def load(self) -> Any:
        """The model with its weights, on its device, in evaluation mode.

        Raises:
            InputError: the weights cannot be read, or do not fit the device.
        """
        what = f"the model {self.base!r}"
        model = load_model(what, self.base, self._loading)
        if self.name != self.base:
            from peft import PeftModel

            with loading(f"the adapter {self.name!r}"):
                model = PeftModel.from_pretrained(model, self.name)
        return moved(model, what, torch.device(self.options.device or _best_device())).eval()

    def check_weights(self) -> None:
        """Check that the weights can be read, as far as the files tell.

        Raises:
            InputError: they cannot.
        """
        check_weights("model", self.base, self._loading)

    @property
    def loaded(self) -> dict[str, Any]:
        """What its responses depend on, beside its name."""
        return {"weights": fingerprint(self.name, self.base), "dtype": self.options.dtype}

    @property
    def _code(self) -> dict[str, Any]:
        return {"trust_remote_code": self.options.trust_remote_code}

    @property
    def _loading(self) -> dict[str, Any]:
        return {"device_map": None, "dtype": dtype_named(self.options.dtype), **self._code}


def fingerprint(name: str, base: str) -> str | None:
    """A hash of samples of the weights' files, so that nobody goes on with others; None on the hub.

    A training writes its checkpoints into the same folder under the same names.

    Args:
        name: of a model or an adapter.
        base: of the model that an adapter belongs to; `name` of a model.
    """
    folders = [Path(one) for one in dict.fromkeys((name, base)) if Path(one).is_dir()]
    files = [path for folder in folders for path in sorted(folder.glob("*.safetensors"))]
    total = sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            for place in range(_PLACES):
                file.seek(size * place // _PLACES)
                total.update(file.read(_PLACE_BYTES))
    return total.hexdigest() if files else None


def base_of(name: str) -> str:
    """The model that an adapter belongs to; `name` itself of a model.

    Raises:
        InputError: an adapter does not name it.
    """
    adapter = Path(name) / ADAPTER
    return _base_of(adapter) if adapter.is_file() else name


def local_model(name: str, options: ModelOptions) -> LocalModel:
    """A model in a folder or on the hub, without its weights.

    Args:
        name: a model's folder, an adapter's folder, or a hub id.
        options: how it is loaded.

    Raises:
        InputError: it cannot be read, or has no stop token.
    """
    base = base_of(name)
    dtype_named(options.dtype)
    _check_device(options.device)
    holds_tokenizer = any((Path(name) / file).is_file() for file in ("tokenizer.json", "tokenizer_config.json"))
    tokenizer = read_tokenizer(name if holds_tokenizer else base, trust_remote_code=options.trust_remote_code)
    ensure_template(tokenizer)
    adopt_end(tokenizer, declared_stops(base))
    return LocalModel(name, base, tokenizer, options)


def _base_of(adapter: Path) -> str:
    try:
        base = json.loads(adapter.read_text(encoding="utf-8"))["base_model_name_or_path"]
    except (ValueError, KeyError, TypeError):
        base = None
    if not isinstance(base, str) or not base:
        raise InputError(f"{adapter} does not name the model that it belongs to: save the adapter again.")
    return base


def dtype_named(name: str) -> Any:
    """A dtype of torch by its name; "auto" as it is.

    Raises:
        InputError: there is no such dtype of floating-point numbers.
    """
    if name == "auto":
        return name
    dtype = getattr(torch, name, None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise InputError(f"there is no dtype {name!r}: give auto, float32 or bfloat16.")
    return dtype


def _check_device(name: str | None) -> None:
    try:
        torch.empty(0, device=name or "cpu")
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the device {name!r} cannot be used ({reason}): give one such as cpu or cuda:0.") from None


def _best_device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"
