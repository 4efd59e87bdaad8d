"""Settings of evaluations by name."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches

from crossdistill.errors import InputError
from crossdistill.eval.sampling import Sampling

_REASONING = Sampling(temperature=0.6, top_p=0.95, max_tokens=16_384)


@dataclass(frozen=True)
class Preset:
    """Tasks and how each is sampled.

    Attributes:
        tasks: name -> settings, in order.
        source: where they come from.
    """

    tasks: Mapping[str, Sampling]
    source: str


_PRESETS = {
    "paper": Preset(
        {
            "aime24": replace(_REASONING, k=16),
            "aime25": replace(_REASONING, k=16),
            "aime26": replace(_REASONING, k=16),
            "math500": replace(_REASONING, k=4),
            "gpqa_diamond": replace(_REASONING, k=4),
            "livecodebench": replace(_REASONING, k=4),
        },
        "Breaking the Tokenizer Barrier: On-Policy Distillation across Model Families. The six benchmarks are those of "
        "its section 5.1, and 16,384 tokens a response those of its rollouts (appendix A). It does not say how its "
        "evaluations are sampled: temperature 0.6 and top-p 0.95 are those of DeepSeek-R1, one of its teachers, and k "
        "is ours.",
    )
}


def presets() -> tuple[str, ...]:
    """Names of the presets.

    Example:
        >>> presets()
        ('paper',)
    """
    return tuple(_PRESETS)


def preset(name: str) -> Preset:
    """The preset of this name.

    Args:
        name: one of :func:`presets`.

    Raises:
        InputError: there is none.

    Example:
        >>> preset("paper").tasks["aime24"].k
        16
    """
    if name not in _PRESETS:
        near = get_close_matches(name, _PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(_PRESETS)}."
        raise InputError(f"there is no preset {name!r}: {hint}")
    return _PRESETS[name]
