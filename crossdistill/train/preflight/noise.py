"""Noise of the student in training mode: refused if the configuration asks for it, otherwise switched off."""

from collections.abc import Iterator
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from crossdistill.distill.noise import NoiseSource, named, noise_sources, switch_off
from crossdistill.findings import Finding, Kind, Severity, When
from crossdistill.inspection.model_files import config_of
from crossdistill.ops.sharded import loaded_whole
from crossdistill.train.preflight.models import hub_options

NEFTUNE = Kind(
    "embedding_noise",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "neftune_noise_alpha = {alpha:g} adds noise to the embeddings in training and not in sampling, so the policy that "
    "trains would not be the one that sampled: leave it out.",
    "importance ratios in the thousands",
)
DROPOUT_KEPT = Kind(
    "dropout_kept",
    Severity.REFUSAL,
    When.BEFORE_WEIGHTS,
    "disable_dropout = false keeps {sources} in training and not in sampling, so the policy that trains would not be "
    "the one that sampled: set disable_dropout = true, or these numbers to 0.",
    "importance ratios in the thousands; the demo's student ends at 80 % in place of 98 %",
)
SWITCHED_OFF = Kind(
    "noise_switched_off",
    Severity.WARNING,
    When.LOADING,
    "{sources} switched off for training, so that the policy that trains is the one that sampled; the student is saved "
    "with its own configuration. To be told nothing, set it to 0.",
    "importance ratios in the thousands; the demo's student ends at 80 % in place of 98 %",
)
DROPOUT_OFF = Kind(
    "dropout_off",
    Severity.NOTICE,
    When.LOADING,
    "layers of dropout are switched off for training (disable_dropout): {sources}.",
    "the policy that trains would not be the one that sampled",
)


def check_noise(model: Any, args: Any, peft_config: Any) -> None:
    """Check before weights are read that the configuration asks for no noise.

    Args:
        model: the student: a folder, a hub id or a model.
        args: the trainer's configuration.
        peft_config: of its adapters; None without any.

    Raises:
        FindingError: it keeps dropout that the student or its adapters have.
    """
    if args.disable_dropout:
        return
    adapters = _numbers_of_adapters([] if peft_config is None else [peft_config])
    kept = [*adapters, named(noise_sources(_skeleton(model, args)))]
    if any(kept):
        raise DROPOUT_KEPT.error(sources=", ".join(filter(None, kept)))


def _skeleton(model: Any, args: Any) -> Any:
    """The model without its weights."""
    if not isinstance(model, str):
        return model
    hub = hub_options(args, "student")
    with torch.device("meta"), loaded_whole():
        return AutoModelForCausalLM.from_config(
            config_of(model, **hub), trust_remote_code=bool(hub.get("trust_remote_code"))
        )


def silence(student: Any, args: Any) -> Iterator[Finding]:
    """Switch the student's noise off, if it has any, and say so.

    Args:
        student: the model that is trained, with its adapters.
        args: the trainer's configuration.

    Raises:
        FindingError: the configuration keeps dropout that the student has.
    """
    if not args.disable_dropout:
        kept = noise_sources(student)
        if kept:
            raise DROPOUT_KEPT.error(sources=named(kept))
        return
    off = switch_off(student)
    numbers = _numbers_of_adapters(getattr(student, "peft_config", {}).values())
    numbers += [named([source for source in off if not source.is_layer])]
    if any(numbers):
        sources = ", ".join(filter(None, numbers))
        yield SWITCHED_OFF(sources=f"{sources} {'are' if ',' in sources else 'is'}")
    layers: list[NoiseSource] = [source for source in off if source.is_layer]
    if layers:
        yield DROPOUT_OFF(sources=named(layers))


def _numbers_of_adapters(configs: Any) -> list[str]:
    """The dropout of adapters: TRL has set their layers to 0 before, and only their configuration still tells."""
    found = {
        f"{name} = {value:g}"
        for config in configs
        for name, value in vars(config).items()
        if "dropout" in name and isinstance(value, float) and value > 0
    }
    return sorted(found)
