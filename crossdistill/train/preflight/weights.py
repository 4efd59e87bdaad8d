"""A model's weights before they are read: its files are whole, and their tensors are those of its architecture."""

import copy
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging as transformers_logging

from crossdistill.findings import FindingError, Kind, Severity, When
from crossdistill.inspection.model_files import LIBRARY_ERRORS, hub_of, read_config, reason_of
from crossdistill.ops.sharded import loaded_whole
from crossdistill.train.preflight.architecture import architecture_of, is_quantised
from crossdistill.train.preflight.fit import check_dtypes, check_fit, check_scales
from crossdistill.train.preflight.headers import Header
from crossdistill.train.preflight.weight_files import check_index, check_shards, read_headers, weight_files

UNREADABLE = Kind(
    "unreadable_weights",
    Severity.REFUSAL,
    When.LOADING,
    "the weights of {what} cannot be read ({reason}): fetch or save the model again, or correct the options that it is "
    "loaded with.",
    "the model cannot be loaded",
)
CONFIG = Kind(
    "unusable_configuration",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "the configuration of {what} cannot be used ({reason}): correct its config.json, or fetch it again.",
    "no model can be made of it",
)
TOO_LARGE = Kind(
    "too_large_for_its_device",
    Severity.REFUSAL,
    When.LOADING,
    "{what} does not fit into memory ({reason}): free some, or take a smaller model, a smaller dtype or more devices.",
    "the model cannot be loaded",
)

_LOADER = logging.getLogger("transformers.modeling_utils")
REPORTS = ("LOAD REPORT", "checkpoint seem corrupted")
"""What transformers says of tensors that do not fit, which is an error here."""


def check_weights(side: str, model: Any, options: Mapping[str, Any]) -> None:
    """Check that a model can be loaded, as far as its files tell without their weights; objects pass.

    On the hub only its configuration is read.

    Args:
        side: what messages call it: "student", or a teacher's label.
        model: a folder, a hub id or an object.
        options: keyword arguments of ``from_pretrained``.

    Raises:
        InputError: it cannot be loaded, or some weights would not be those of the files.
    """
    if not isinstance(model, str) or "gguf_file" in options:
        return
    what = f"the {side} {model!r}"
    config = read_config(model, **hub_of(options))
    architecture = architecture_of(what, config)
    quantised = is_quantised(what, config, dict(options))
    folder = Path(model) / options.get("subfolder", "")
    if not folder.is_dir():
        return
    files = weight_files(folder, options.get("variant"))
    headers_of = read_headers(files)
    check_shards(files, headers_of)
    headers = {name: header for of_file in headers_of.values() for name, header in of_file.items()}
    check_scales(what, headers, _method(config))
    if issubclass(architecture, PreTrainedModel) and not quantised:
        empty, info = loaded_empty(what, architecture, config, headers)
        if info["missing_keys"]:
            check_index(files, headers_of)
        check_fit(what, architecture.__name__, config, info)
        check_dtypes(what, empty, headers)


def _method(config: PreTrainedConfig) -> str | None:
    """Of the quantisation of the files, if they are."""
    declared = getattr(config, "quantization_config", None) or {}
    return declared.get("quant_method") if isinstance(declared, dict) else None


def loaded_empty(
    what: str, architecture: Any, config: PreTrainedConfig, headers: Mapping[str, Header]
) -> tuple[Any, dict[str, Any]]:
    """A model without weights, and what transformers would report of loading it: found with tensors without content.

    Args:
        what: what messages call the model.
        architecture: its class.
        config: of the model.
        headers: of the tensors in its files.

    Raises:
        FindingError: the model cannot be made of its configuration.
    """
    try:
        with loading(what), without_reports(everything=True), loaded_whole():
            model, info = architecture.from_pretrained(
                None,
                config=config,
                state_dict={name: torch.empty(header.shape, device="meta") for name, header in headers.items()},
                device_map={"": "meta"},
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except FindingError:
        _check_config(what, architecture, config)
        raise
    return model, info


def _check_config(what: str, architecture: Any, config: PreTrainedConfig) -> None:
    """Make the model without weights: if that fails, too, they are not to blame."""
    try:
        with torch.device("meta"), without_reports(everything=True), loaded_whole():
            architecture(copy.deepcopy(config))
    except LIBRARY_ERRORS as error:
        raise CONFIG.error(what=what, reason=f"{type(error).__name__}: {reason_of(error)}") from None


@contextmanager
def loading(what: str) -> Iterator[None]:
    """Turn a library's errors while it loads a model into one sentence.

    Args:
        what: what messages call the model.

    Raises:
        FindingError: it cannot be loaded.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise TOO_LARGE.error(what=what, reason=reason_of(error)) from None
    except LIBRARY_ERRORS as error:
        raise UNREADABLE.error(what=what, reason=reason_of(error)) from None


@contextmanager
def without_reports(everything: bool = False) -> Iterator[None]:
    """Keep transformers' table of tensors that do not fit out of the log.

    Args:
        everything: keep all warnings about loading out, and progress bars.
    """
    shows_progress = transformers_logging.is_progress_bar_enabled()

    def is_kept(record: logging.LogRecord) -> bool:
        return not everything and not any(text in record.getMessage() for text in REPORTS)

    _LOADER.addFilter(is_kept)
    if everything:
        transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        _LOADER.removeFilter(is_kept)
        if shows_progress:
            transformers_logging.enable_progress_bar()
