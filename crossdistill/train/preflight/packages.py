"""Packages that settings of a run need, told by name before anything is read."""

from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from importlib.util import find_spec
from typing import Any

from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from crossdistill.errors import InputError
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.versions import Conflict, conflicts

NOT_INSTALLED = Kind(
    "package_not_installed",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "{setting} needs {package}, which is not installed: {way_out}.",
    "the run ends with an ImportError, for some packages after the models are loaded",
)
OUT_OF_RANGE = Kind(
    "version_out_of_range",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "{conflict}, with which this release was not tried: pip install '{needed}'.",
    "what was changed there may change the run, in silence or with an error in the middle",
)

_LOGGERS = {
    "clearml": ("clearml", "clearml"),
    "codecarbon": ("codecarbon", "codecarbon"),
    "comet_ml": ("comet_ml", "comet-ml"),
    "dvclive": ("dvclive", "dvclive"),
    "mlflow": ("mlflow", "mlflow"),
    "neptune": ("neptune", "neptune"),
    "swanlab": ("swanlab", "swanlab"),
    "tensorboard": ("tensorboard", "'crossdistill[tensorboard]'"),
    "trackio": ("trackio", "trackio"),
    "wandb": ("wandb", "wandb"),
}
"""Logger -> module, and what pip installs."""
_OPTIMIZERS = {
    "galore": ("galore_torch", "galore-torch"),
    "apollo": ("apollo_torch", "apollo-torch"),
    "schedule_free": ("schedulefree", "schedulefree"),
    "grokadamw": ("grokadamw", "grokadamw"),
    "lomo": ("lomo_optim", "lomo-optim"),
    "adalomo": ("lomo_optim", "lomo-optim"),
    "stable_adamw": ("optimi", "torch-optimi"),
    "adamw_torch_4bit": ("torchao", "torchao"),
    "adamw_torch_8bit": ("torchao", "torchao"),
    "paged_": ("bitsandbytes", "bitsandbytes"),
    "ademamix": ("bitsandbytes", "bitsandbytes"),
    "lion": ("bitsandbytes", "bitsandbytes"),
    "adamw_8bit": ("bitsandbytes", "bitsandbytes"),
    "adamw_bnb": ("bitsandbytes", "bitsandbytes"),
    "rmsprop_bnb": ("bitsandbytes", "bitsandbytes"),
}
"""How the name of an optimizer begins -> module, and what pip installs; the first that fits holds."""
_OF_THE_TRAINERS = ("trl", "transformers", "accelerate", "peft", "datasets")
_SDPA = "leave attn_implementation out for torch's own attention"


def check_packages(options: Mapping[str, Any]) -> None:
    """Check that the packages which settings need are installed.

    Args:
        options: fields of a configuration of TRL, as they were given; those that are left out need nothing.

    Raises:
        InputError: one is not, or there is no such logger.

    Example:
        >>> check_packages({"report_to": "none", "optim": "adamw_torch"})
        >>> try:
        ...     check_packages({"report_to": ["wandb_"]})
        ... except InputError as error:
        ...     print(error)
        report_to names 'wandb_', which is no logger; did you mean 'wandb'?
    """
    for setting, module, way_out in _needs(options):
        if find_spec(module) is None:
            raise NOT_INSTALLED.error(setting=setting, package=module, way_out=way_out)


def version_findings(found: Iterable[Conflict] | None = None) -> Iterator[Finding]:
    """Packages that train, outside of the range of releases that this one holds for.

    Args:
        found: requirements that are not met; those here by default.
    """
    for one in conflicts() if found is None else found:
        if one.owner.partition("[")[0] == "crossdistill" and one.requirement.name in _OF_THE_TRAINERS:
            yield OUT_OF_RANGE(conflict=one, needed=one.needed)


def _needs(options: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(setting, module, way out) of all that is asked for."""
    if options.get("deepspeed"):
        yield "deepspeed", "deepspeed", "pip install 'crossdistill[deepspeed]', or leave it out"
    if options.get("use_liger_kernel"):
        yield "use_liger_kernel = true", "liger_kernel", "pip install liger-kernel, or leave it out"
    yield from _of_loggers(options.get("report_to"))
    optimizer = str(getattr(options.get("optim"), "value", options.get("optim")))
    for start, (module, package) in _OPTIMIZERS.items():
        if optimizer.startswith(start):
            yield f"optim = {optimizer!r}", module, f"pip install {package}, or leave it out"
            break
    for name in ("model_init_kwargs", "teacher_model_init_kwargs"):
        kwargs = options.get(name)
        yield from _of_attention(name, kwargs if isinstance(kwargs, dict) else {})


def _of_loggers(report_to: str | list[str] | None) -> Iterator[tuple[str, str, str]]:
    names = [report_to] if isinstance(report_to, str) else report_to or []
    for name in names:
        if name in ("none", "all"):
            continue
        if name not in INTEGRATION_TO_CALLBACK:
            near = get_close_matches(str(name), INTEGRATION_TO_CALLBACK, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"choose of {', '.join(INTEGRATION_TO_CALLBACK)}."
            raise InputError(f"report_to names {name!r}, which is no logger; {hint}")
        if name in _LOGGERS:
            module, package = _LOGGERS[name]
            yield f"report_to = {name!r}", module, f"pip install {package}, or name another logger"


def _of_attention(name: str, kwargs: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    attention = kwargs.get("attn_implementation")
    setting = f"attn_implementation = {attention!r} ({name})"
    if isinstance(attention, str) and "/" in attention:
        yield setting, "kernels", f"pip install kernels, or {_SDPA}"
    elif attention == "flash_attention_2" and find_spec("kernels") is None:  # which has one that is built already
        yield setting, "flash_attn", f"pip install flash-attn (or kernels, which has it built), or {_SDPA}"
