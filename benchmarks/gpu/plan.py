"""What is measured, in which order, and about how long it takes."""

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.dense.cell import FLOOR, GOLD_HYBRID, GOLD_PLAIN, Setting, Size
from benchmarks.dense.measure import SAME_VOCABULARY
from benchmarks.gpu.installed import CUT_CROSS_ENTROPY, LIGER_CROSS_ENTROPY, LIGER_JSD, TRANSFORMERS, VLLM
from benchmarks.gpu.losses import TILED
from benchmarks.gpu.peers import SAMPLED
from benchmarks.objectives import dense_objectives

RATE, LOSSES, STEP = "rate", "losses", "step"
START_SECONDS = {"cuda": 40.0, "cpu": 10.0}
"""Of a process: imports, the device, vocabularies of a quarter of a million entries."""
FLOP_A_SECOND = {"cuda": 1e14, "cpu": 1e10}
"""Of a loss, for the estimate: an eighth of an H100's datasheet."""
TOKEN_SECONDS = {"cuda": 0.04, "cpu": 0.02}
"""Of a decode step of the student with transformers, for the estimate."""


@dataclass(frozen=True)
class Steps:
    """The training steps that are timed.

    Attributes:
        batch: responses of a step.
        response_tokens: of each; a student of random weights ends none before.
        prompt_tokens: about.
        steps: that count, after one that does not.
    """

    batch: int
    response_tokens: int
    prompt_tokens: int
    steps: int


@dataclass(frozen=True)
class Scale:
    """Sizes of a run.

    Attributes:
        sizes: of the losses.
        tiled_size: at which tiles of other heights are tried.
        tiled: logits in a tile, in those that it holds by default.
        heights: tokens of the bare products.
        repeats: calls of a way.
        step: see :class:`Steps`.
    """

    sizes: tuple[str, ...]
    tiled_size: str
    tiled: tuple[float, ...]
    heights: tuple[int, ...]
    repeats: int
    step: Steps


FULL = Scale(
    sizes=(
        "4096:49152/576:151936/1024",  # SmolLM2-135M under Qwen3-0.6B
        "4096:151936/2048:128256/4096",  # Qwen3-1.7B under Llama-3.1-8B
        "16384:151936/2048:128256/4096",
        "16384:262144/1152:262144/3840",  # Gemma-3-1B under Gemma-3-12B; all but gkd with other entries
    ),
    tiled_size="4096:151936/2048:128256/4096",
    tiled=(1, 4, 16),
    heights=(64, 512, 4096),
    repeats=5,
    step=Steps(batch=16, response_tokens=512, prompt_tokens=64, steps=3),
)
SMALL = Scale(
    sizes=("48:1200/32:1200/48",),  # with gkd
    tiled_size="48:1200/32:1600/48",
    tiled=(2**-10,),
    heights=(16, 48),
    repeats=2,
    step=Steps(batch=2, response_tokens=6, prompt_tokens=4, steps=1),
)
TILED_WAYS = (SAMPLED, "simct", "gold")


@dataclass(frozen=True)
class Part:
    """What one process measures.

    Attributes:
        name: of the part.
        kind: RATE, LOSSES or STEP.
        cells: its figures, in order: sizes, ways or engines.
        size: of the losses.
        seconds: that it is expected to take; a guess from FLOPs and tokens.
        cell_seconds: after which a cell is given up.
    """

    name: str
    kind: str
    cells: tuple[str, ...]
    seconds: float
    cell_seconds: float
    size: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def ways_at(size: Size) -> tuple[str, ...]:
    """Ours, the products alone, GOLD's and the fused kernels of others, of which some may fail: they come last."""
    is_one = size.student_vocab == size.teacher_vocab
    ours = [name for name in dense_objectives() if is_one or name not in SAME_VOCABULARY]
    jsd = [LIGER_JSD] if is_one else []
    return (FLOOR, SAMPLED, *ours, GOLD_HYBRID, GOLD_PLAIN, *jsd, LIGER_CROSS_ENTROPY, CUT_CROSS_ENTROPY)


def parts(scale: Scale, device: str) -> list[Part]:
    """All parts, in order: what the targets need comes first."""
    start, pairs = START_SECONDS[device], {Size.parse(size).pair: size for size in scale.sizes}
    found = [Part("rate", RATE, tuple(pairs), start + 3 * len(pairs), 60.0)]
    for text in scale.sizes:
        size = Size.parse(text)
        seconds = start + _loss_seconds(size, len(ways_at(size)), scale.repeats, device)
        found.append(Part(f"losses {text}", LOSSES, ways_at(size), seconds, 90.0, text))
    found.append(Part("step transformers", STEP, (TRANSFORMERS,), start + _step_seconds(scale.step, device), 300.0))
    tiled = tuple(f"{way}{TILED}{factor}" for way in TILED_WAYS for factor in scale.tiled)
    seconds = start + _loss_seconds(Size.parse(scale.tiled_size), len(tiled), scale.repeats, device)
    found.append(Part("tiles", LOSSES, tiled, seconds, 90.0, scale.tiled_size))
    seconds = start + 120 + _step_seconds(scale.step, device) / 4  # vLLM compiles and captures its graphs first
    return [*found, Part("step vllm", STEP, (VLLM,), seconds, 420.0)]


def _loss_seconds(size: Size, ways: int, repeats: int, device: str) -> float:
    flop = 2 * size.tokens * (3 * size.student_vocab * size.student_hidden + size.teacher_vocab * size.teacher_hidden)
    return ways * (1 + (repeats + 1) * flop / FLOP_A_SECOND[device])


def _step_seconds(step: Steps, device: str) -> float:
    return (step.steps + 1) * step.response_tokens * TOKEN_SECONDS[device] * 1.5


def setting_of(scale: Scale, device: str) -> Setting:
    """Of the losses: bfloat16, with a trained output weight, responses of up to 1,024 tokens."""
    return Setting(device, "bfloat16", True, 1024, 0, scale.repeats, cheap_seconds=3.0)
