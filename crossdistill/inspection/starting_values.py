"""Settings with which on-policy distillation was run, each with its source, and those that a new run begins with.

They are places to start from: a rate that holds for one pair, length and batch may fail for another.
"""

from dataclasses import dataclass

FEWEST_LARGE = 1_000_000_000
"""Weights from which a student counts as one of the 7B class."""


@dataclass(frozen=True)
class StartingValues:
    """Settings of one run.

    Attributes:
        pair: student and teacher.
        is_large: whether they are for students of the 7B class, or for those below FEWEST_LARGE weights.
        learning_rate: of AdamW.
        responses: of a step.
        length: most tokens of a response; None if the source has none.
        steps: optimisation steps; None if the source counts epochs.
        rank: of LoRA; None if all weights are trained.
        outcome: what the source says came of it.
        source: where it is written.
        is_default: whether a new run begins with these.

    Example:
        >>> starting_values(8_000_000_000, is_lora=False).learning_rate
        1e-06
    """

    pair: str
    is_large: bool
    learning_rate: float
    responses: int
    length: int | None
    steps: int | None
    rank: int | None
    outcome: str
    source: str
    is_default: bool = False


# of the time when the recipe was for Qwen3-8B: its README now leaves the score open, and names another model
_TINKER = (
    "https://github.com/thinking-machines-lab/tinker-cookbook/blob/29a82981c32ad1960253afad1d15707dedc1ffa0/"
    "tinker_cookbook/recipes/distillation/README.md"
)
_GOLD = "https://github.com/huggingface/trl/blob/main/trl/experimental/gold/gold.py"

STARTING_VALUES = (
    StartingValues(
        pair="SmolLM2-135M-Instruct under Gemma-3-270M",
        is_large=False,
        learning_rate=1e-4,
        responses=8,
        length=64,
        steps=40,
        rank=None,
        outcome="teacher gap 0.237 to 0.138 nats per byte",
        source="docs/real-models.md",
        is_default=True,
    ),
    StartingValues(
        pair="the demo's student of 0.7M weights under its teacher",
        is_large=False,
        learning_rate=3e-4,
        responses=64,
        length=48,
        steps=60,
        rank=None,
        outcome="exact match 31 % to 95-98 %, three seeds",
        source="docs/measurements.md",
    ),
    StartingValues(
        pair="Llama-3.2-1B-Instruct under Qwen2-1.5B-Instruct",
        is_large=True,
        learning_rate=2e-5,
        responses=32,
        length=None,
        steps=None,
        rank=None,
        outcome="an example without figures",
        source=_GOLD,
    ),
    StartingValues(
        pair="Llama-3.1-8B after SFT under Qwen3-8B",
        is_large=True,
        learning_rate=1e-6,
        responses=128,
        length=16_384,
        steps=156,
        rank=None,
        outcome="AIME24 38.5 % to 44.4 % with 20K prompts",
        source="Breaking the Tokenizer Barrier, sections 5.3 and A, and its training script for the rate",
        is_default=True,
    ),
    StartingValues(
        pair="Qwen3-8B-Base after SFT under Qwen3-8B",
        is_large=True,
        learning_rate=5e-5,
        responses=2048,
        length=4096,
        steps=None,
        rank=None,
        outcome="a rate without figures; batch and length are those of its LoRA runs",
        source=_TINKER,
    ),
    StartingValues(
        pair="Gemma-3-270M under SmolLM2-135M-Instruct",
        is_large=False,
        learning_rate=5e-4,
        responses=6,
        length=48,
        steps=40,
        rank=16,
        outcome="teacher gap 0.280 to 0.196 nats per byte",
        source="docs/real-models.md",
        is_default=True,
    ),
    StartingValues(
        pair="Llama-3.2-1B-Instruct under Qwen2-1.5B-Instruct",
        is_large=True,
        learning_rate=2e-4,
        responses=32,
        length=None,
        steps=None,
        rank=64,
        outcome="an example without figures",
        source=_GOLD,
    ),
    StartingValues(
        pair="Qwen3-8B-Base after SFT under Qwen3-8B (chat)",
        is_large=True,
        learning_rate=1e-4,
        responses=256,
        length=4096,
        steps=100,
        rank=128,
        outcome="IF-eval recovers within about 100 steps",
        source=_TINKER,
        is_default=True,
    ),
    StartingValues(
        pair="Qwen3-8B-Base after SFT under Qwen3-8B (reasoning)",
        is_large=True,
        learning_rate=1e-4,
        responses=2048,
        length=4096,
        steps=100,
        rank=128,
        outcome="AIME24 about 65 %",
        source=_TINKER,
    ),
    StartingValues(
        pair="Qwen3-8B under Qwen3-235B-A22B-Instruct, aligned by bytes",
        is_large=True,
        learning_rate=4e-5,
        responses=64,
        length=8192,
        steps=None,
        rank=32,
        outcome="an example without figures; advantages clipped at 5",
        source=(
            "https://github.com/rllm-org/rllm/blob/main/examples/solver_judge_distill/train_simple_math_distill_tinker.sh"
        ),
    ),
)
"""All that are known, ours and published ones; those of one's own pair are worth more than any of them."""


def starting_values(params: int, is_lora: bool) -> StartingValues:
    """Those that a new run begins with.

    Args:
        params: weights of the student.
        is_lora: whether an adapter is trained.
    """
    is_large = params >= FEWEST_LARGE
    return next(
        values
        for values in STARTING_VALUES
        if values.is_default and values.is_large is is_large and (values.rank is not None) is is_lora
    )


def known_rates(params: int, is_lora: bool) -> list[float]:
    """All learning rates that are known for students of that size.

    Args:
        params: weights of the student.
        is_lora: whether an adapter is trained.

    Example:
        >>> known_rates(8_000_000_000, is_lora=False)
        [2e-05, 1e-06, 5e-05]
    """
    is_large = params >= FEWEST_LARGE
    return [
        values.learning_rate
        for values in STARTING_VALUES
        if values.is_large is is_large and (values.rank is not None) is is_lora
    ]


def markdown_table() -> str:
    """The table of docs/starting.md."""
    columns = ("student under teacher", "rate", "responses a step", "tokens of a response", "steps", "LoRA rank")
    lines = [f"| {' | '.join(columns)} | outcome | source |", "|---|--:|--:|--:|--:|--:|---|---|"]
    for values in STARTING_VALUES:
        mark = "**" if values.is_default else ""
        cells = (
            f"{mark}{values.pair}{mark}",
            f"{values.learning_rate:.0e}".replace("e-0", "e-"),
            f"{values.responses:,}",
            "–" if values.length is None else f"{values.length:,}",
            "–" if values.steps is None else f"{values.steps:,}",
            "all weights" if values.rank is None else str(values.rank),
            values.outcome,
            _linked(values.source),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _linked(source: str) -> str:
    if source.startswith("docs/"):
        name = source.removeprefix("docs/")
        return f"[{name.removesuffix('.md')}]({name})"
    return f"<{source}>" if source.startswith("https://") else source
