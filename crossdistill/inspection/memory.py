"""Memory of a GPU that a run takes, estimated from sizes alone.

What is held all the time (weights, optimizer, teacher), and what the four phases of a step add: sampling, scoring the
samples, the teacher's pass, and training. The peak is that of the largest phase, or ZeRO-3's before training. For mixed
precision with Adam this is the count of ZeRO (Rajbhandari et al. 1910.02054, section 3): 16 bytes a parameter, of which
ZeRO-2 spreads 14 over the processes and ZeRO-3 and FSDP2 all.

Left out: what the allocator holds and does not use, the device's own context and that of NCCL (together 1 to 3 GiB),
kernels' work spaces, and quantised weights, which are counted as if they were not.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from crossdistill.inspection.activations import Activations
from crossdistill.inspection.model_size import ModelSize
from crossdistill.ops.logprobs import TILE_ELEMENTS

TILES = 2
"""Tiles of float32 logits at once on a GPU: logits, and probabilities or a gradient. A CPU holds one, because it works
on pieces of a tile (:mod:`crossdistill.ops.pieces`)."""
STEP_OF_LOGITS = 3
"""Likewise while responses are sampled: logits, the filtered ones, and log-probabilities."""
_ZERO_BUCKET = 500_000_000  # elements: DeepSpeed's reduce_bucket_size
_ZERO_LIVE = 1_000_000_000  # elements: DeepSpeed's stage3_max_live_parameters


class Engine(StrEnum):
    """What trains the student."""

    ONE = "one process"
    DDP = "DDP"
    FSDP = "FSDP2"
    ZERO2 = "ZeRO-2"
    ZERO3 = "ZeRO-3"

    @property
    def is_deepspeed(self) -> bool:
        return self in (Engine.ZERO2, Engine.ZERO3)

    @property
    def casts_itself(self) -> bool:
        """Whether weights come into a pass in half precision; autocast casts them within it."""
        return self.is_deepspeed or self is Engine.FSDP


class Phase(StrEnum):
    """A part of a run with a peak of its own."""

    START = "before training"
    ALWAYS = "always"
    SAMPLING = "sampling"
    SCORING = "scoring"
    TEACHER = "teacher"
    TRAINING = "training"


@dataclass(frozen=True)
class Setting:
    """How a run is launched and set.

    Attributes:
        engine, num_processes: see :class:`Engine`.
        weight_bytes: of one of the student's weights, if it is frozen.
        trained_bytes: of one that is trained.
        compute_bytes: of a number in matrix products.
        state_bytes: of the optimizer's state a trained weight, with weights of 4 bytes: 8 for Adam.
        rows: sampled at once by a process.
        length: tokens of the longest row, prompt and response.
        micro_batch_tokens, micro_batch_rows: of a forward pass.
        accumulates: whether gradients of several passes are summed before processes exchange them.
        is_checkpointed: whether activations are recomputed.
        samples_here: whether transformers generates in this process, and not vLLM.
        gathers_to_sample: whether ZeRO-3 gathers all weights to generate.
        teacher_tokens: of the local teacher's pass.
        teacher_bytes: of one of its weights.
    """

    engine: Engine
    num_processes: int
    weight_bytes: int
    trained_bytes: int
    compute_bytes: int
    state_bytes: float
    rows: int
    length: int
    micro_batch_tokens: int
    micro_batch_rows: int
    accumulates: bool
    is_checkpointed: bool
    samples_here: bool = True
    gathers_to_sample: bool = True
    teacher_tokens: int = 8192
    teacher_bytes: int = 2

    @property
    def pass_tokens(self) -> int:
        """Tokens of the student's largest forward pass."""
        return max(self.length, min(self.micro_batch_rows * self.length, self.micro_batch_tokens))


@dataclass(frozen=True)
class Part:
    """What takes memory.

    Attributes:
        phase: when.
        name: what.
        num_bytes: on each GPU.
    """

    phase: Phase
    name: str
    num_bytes: float


def estimate(
    setting: Setting, student: ModelSize, kept: Activations | None, teachers: tuple[ModelSize, ...] = ()
) -> list[Part]:
    """What takes memory on each GPU, phase by phase.

    Args:
        setting: of the run.
        student: its sizes.
        kept: activations a token; None leaves them out.
        teachers: sizes of the local ones.

    Example:
        A student of 7.5 billion weights on 64 GPUs, as in the paper of ZeRO:

        >>> student = ModelSize(7_500_000_000, 7_500_000_000, 0, 0, 0, 32, 4096, 11008, 32000, 0)
        >>> sizes = {"rows": 1, "length": 1024, "micro_batch_tokens": 1024, "micro_batch_rows": 1}
        >>> how = {"weight_bytes": 2, "trained_bytes": 2, "compute_bytes": 2, "state_bytes": 8}
        >>> setting = Setting(Engine.ZERO3, 64, accumulates=False, is_checkpointed=True, **sizes, **how)
        >>> states = ("student: weights", "student: optimizer", "student: gradients")
        >>> round(sum(part.num_bytes for part in estimate(setting, student, None) if part.name in states) / 1e9, 2)
        1.88
    """
    parts = [
        *_starting(setting, student),
        *_states(setting, student),
        *_exchange(setting, student),
        *_sampling(setting, student),
        *_passes(setting, student, kept),
        *_teaching(setting, teachers),
    ]
    return [part for part in parts if part.num_bytes]


def peaks(parts: list[Part]) -> dict[Phase, float]:
    """Bytes of each phase, with what is held all the time from the first step on."""
    always = sum(part.num_bytes for part in parts if part.phase is Phase.ALWAYS)
    own = {phase: sum(part.num_bytes for part in parts if part.phase is phase) for phase in Phase}
    held = {phase: 0 if phase is Phase.START else always for phase in Phase if phase is not Phase.ALWAYS}
    return {phase: size + own[phase] for phase, size in held.items() if own[phase]}


def _starting(setting: Setting, student: ModelSize) -> Iterator[Part]:
    """ZeRO-3 gathers the student for the check of its head, before there are an optimizer and a teacher."""
    if setting.engine is Engine.ZERO3:
        whole = student.params * setting.weight_bytes
        yield Part(Phase.START, "ZeRO-3: its part of the student", whole / setting.num_processes)
        yield Part(Phase.START, "ZeRO-3: the whole student, to check its head", whole)


def _states(setting: Setting, student: ModelSize) -> Iterator[Part]:
    engine, size, frozen = setting.engine, setting.trained_bytes, student.params - student.trainable
    shards = setting.num_processes if engine in (Engine.FSDP, Engine.ZERO3) else 1
    spread = setting.num_processes if engine.is_deepspeed else shards
    states = 4 + setting.state_bytes if engine.is_deepspeed else setting.state_bytes * size / 4
    yield Part(Phase.ALWAYS, "student: weights", (student.trainable * size + frozen * setting.weight_bytes) / shards)
    yield Part(Phase.ALWAYS, "student: optimizer", student.trainable * states / spread)
    yield Part(Phase.TRAINING, "student: gradients", student.trainable * size / spread)


def _exchange(setting: Setting, student: ModelSize) -> Iterator[Part]:
    """What processes hold to exchange weights and gradients."""
    engine, size, trained = setting.engine, setting.compute_bytes, student.trainable
    if engine is Engine.DDP:
        yield Part(Phase.TRAINING, "DDP: buckets of gradients", trained * setting.trained_bytes)
    if engine is Engine.FSDP:
        gathered = student.around + 2 * student.layer
        for phase in (Phase.SAMPLING, Phase.SCORING, Phase.TRAINING):
            yield Part(phase, "FSDP2: gathered weights", gathered * size)
        whole = trained if setting.accumulates else min(trained, gathered)
        yield Part(Phase.TRAINING, "FSDP2: gradients before they are spread", whole * size)
    if engine.is_deepspeed:
        yield Part(Phase.TRAINING, f"{engine}: buckets of gradients", 2 * min(_ZERO_BUCKET, trained) * size)
    if engine is Engine.ZERO3:
        live = min(_ZERO_LIVE, student.params) * size
        yield Part(Phase.TRAINING, "ZeRO-3: gathered weights", live)
        yield Part(Phase.SCORING, "ZeRO-3: gathered weights", live)
        if setting.samples_here:
            yield Part(
                Phase.SAMPLING, "ZeRO-3: gathered weights", student.params * size if setting.gathers_to_sample else live
            )


def _sampling(setting: Setting, student: ModelSize) -> Iterator[Part]:
    if setting.samples_here:
        cache = setting.rows * setting.length * student.cached * setting.compute_bytes
        yield Part(Phase.SAMPLING, "cache of keys and values", cache)
        yield Part(Phase.SAMPLING, "logits of the next token", STEP_OF_LOGITS * 4 * setting.rows * student.vocab)


def _passes(setting: Setting, student: ModelSize, kept: Activations | None) -> Iterator[Part]:
    """The student's own passes."""
    is_cast = setting.compute_bytes != setting.weight_bytes and not setting.engine.casts_itself
    for phase in (Phase.SCORING, Phase.TRAINING):
        if is_cast:
            yield Part(phase, "weights in half precision (autocast)", student.products * setting.compute_bytes)
        yield Part(phase, "tiles of logits", _tiles(setting.pass_tokens, student.vocab))
    yield Part(Phase.SCORING, "one layer at work", _at_work(student, setting.pass_tokens, setting.compute_bytes))
    if kept is not None:
        of_layers = kept.bytes_of(student.num_layers, setting.pass_tokens, setting.is_checkpointed)
        yield Part(Phase.TRAINING, "activations", of_layers)
        backward = _at_work(student, setting.pass_tokens, setting.weight_bytes)
        yield Part(Phase.TRAINING, "gradients within a layer", backward)
    if student.trainable == student.params:
        yield Part(Phase.TRAINING, "gradient of the head in the making", 4 * student.vocab * student.hidden)


def _teaching(setting: Setting, teachers: tuple[ModelSize, ...]) -> Iterator[Part]:
    """Each process holds every local teacher whole."""
    tokens = max(setting.length, setting.teacher_tokens)
    for teacher in teachers:
        yield Part(Phase.ALWAYS, "teacher: weights", teacher.params * setting.teacher_bytes)
    if teachers:
        largest = max(_at_work(teacher, tokens, setting.teacher_bytes) for teacher in teachers)
        tiles = max(_tiles(tokens, teacher.vocab) for teacher in teachers)
        yield Part(Phase.TEACHER, "teacher: one layer at work, tiles of logits", largest + tiles)


def _at_work(model: ModelSize, tokens: int, size: int) -> float:
    """A layer without a backward pass: its inputs in and out, and the two halves of its widest part."""
    return tokens * size * (4 * model.hidden + 3 * model.intermediate)


def _tiles(tokens: int, vocab: int) -> float:
    return TILES * 4 * min(tokens * vocab, max(TILE_ELEMENTS, vocab))
