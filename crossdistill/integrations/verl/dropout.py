"""Dropout of the student, which verl leaves on in training: switched off by verl's configuration, or refused."""

import copy
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from crossdistill.distill.noise import named, noise_sources, numbers_of_config
from crossdistill.errors import InputError
from crossdistill.inspection.model_files import read_config

OVERRIDE = "actor_rollout_ref.model.override_config"


def without_dropout(student: str) -> dict[str, float | dict[str, float]]:
    """Entries of verl's ``override_config`` that switch the student's dropout off.

    Args:
        student: folder or hub id; its configuration is read, and no weights.

    Returns:
        Name of a number in the configuration -> 0; below ``text_config`` for a multimodal model.

    Raises:
        InputError: its configuration cannot be read, or it has noise in training that no number for dropout names.
    """
    whole = copy.deepcopy(read_config(student))
    config = whole.get_text_config()
    off = {source.attribute: 0.0 for source in numbers_of_config(config) if "drop" in source.attribute.lower()}
    for name, value in off.items():
        setattr(config, name, value)
    with torch.device("meta"):
        left = [*numbers_of_config(config), *noise_sources(AutoModelForCausalLM.from_config(config))]
    if left:
        raise InputError(
            f"the student {student} has noise in training ({named(left)}), which verl leaves on, so the policy that "
            "trains would not be the one that sampled: set it to 0 in the student's config.json, or train with "
            "`crossdistill train`."
        )
    if not off:
        return {}
    return dict(off) if config is whole else {"text_config": off}


def dropout_settings(student: str) -> dict[str, Any]:
    """The same as settings of verl, with dots in their keys."""
    return {f"{OVERRIDE}.{name}": value for name, value in without_dropout(student).items()}
