"""Event-set completion (arXiv 2609.34738), known to us from its abstract and secondary accounts.

    L = sum over chunks c of  KL( target_c || p_S(. | prefix of c) ) + child_weight * child_c
    child_c = - sum over t in T(s) of w_t log sum over v in C_t of p_S(v | prefix of c, s)

The root is the divergence of bpm at the start of a chunk: each teacher token's probability is that of the longest
student token with which it begins, the rest is an explicit residual. It leaves open whether the student completes what
it began. The child asks that, at a position which the rollout visited: s is the student's token there, T(s) are the
teacher tokens whose probability went to s and that are longer, C_t the student tokens that begin with the rest of t.
Any of them completes the event; with none there is no term. w_t is the teacher's probability of t at the root.

completion = "several_tokens" is ours: the rest of t may also be written by several tokens, along the path of those that
the student sampled (module `completion_path`), a lower bound of the probability that it is.

At student == teacher (one vocabulary) L is 0: no longer teacher token goes to s, so there is no child; with
events = "all" there is one, and L is above 0. Signal: DENSE. No chunks: 0.
"""

from dataclasses import dataclass
from typing import ClassVar

from crossdistill.errors import InputError
from crossdistill.objectives.base import LossSum, Objective, PairMeasure
from crossdistill.objectives.shared.bytewise.byte_prefixes import prefixes_of
from crossdistill.objectives.shared.bytewise.comparison import check_beginnings, target_divergence
from crossdistill.objectives.shared.bytewise.completion import Begun, next_token_loss
from crossdistill.objectives.shared.bytewise.completion_path import on_path, path_loss
from crossdistill.objectives.shared.bytewise.realised_path import moves_along
from crossdistill.objectives.shared.bytewise.targets import FirstTargets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.bytewise.unfinished import unfinished_of
from crossdistill.objectives.shared.divergence import Divergence, check_not_negative, check_positive
from crossdistill.objectives.shared.inputs import AlignedBatch, LossInputs
from crossdistill.objectives.shared.vocab_pair import VocabPair
from crossdistill.ops.tiled import TiledSum
from crossdistill.signal import Signal

COMPLETIONS = ("one_token", "several_tokens")
EVENTS = ("routed", "all")


@dataclass(frozen=True)
class ESCD(Objective):
    """The forward divergence at chunk starts, and the completion of the teacher tokens that the student has begun.

    Attributes:
        completion: "one_token", as in the paper, or "several_tokens".
        events: T(s), "routed" (teacher tokens whose probability the root gave to s) or "all" that begin with s.
        normalise: whether w_t is the teacher's probability of t given T(s), and not that of t alone.
        child_weight: the weight of the child; 0 leaves the root alone.
        temperature: divides the logits of both sides.

    Example:
        >>> ESCD(completion="several_tokens").signal.value
        'dense'
    """

    name: ClassVar[str] = "escd"

    completion: str = "one_token"
    events: str = "routed"
    normalise: bool = False
    child_weight: float = 1.0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        for option, value, known in (
            ("completion", self.completion, COMPLETIONS),
            ("events", self.events, EVENTS),
        ):
            if value not in known:
                raise InputError(f"{option} is one of {', '.join(known)}, not {value!r}.")
        check_not_negative(child_weight=self.child_weight)
        check_positive(temperature=self.temperature)

    @property
    def signal(self) -> Signal:
        return Signal.DENSE

    def describe(self, measure: PairMeasure) -> str:
        starts = f"compares all of the teacher's mass at the starts of {measure.num_chunks:,} chunks"
        asks = ", and asks the student to complete the teacher tokens that it has begun"
        return starts + asks if self.child_weight else starts

    def check(self, pair: VocabPair) -> None:
        """Raises InputError if no teacher token begins with a student token."""
        check_beginnings(pair, self.name)

    def weight(self, batch: AlignedBatch) -> float:
        """The number of chunks."""
        return float(batch.alignment.num_chunks)

    def loss(self, inputs: LossInputs) -> LossSum:
        """The sum over chunks.

        Stats: of the root, the target's residual and the probability that moved on to longer student tokens; of the
        child, its sum before `child_weight`, and the teacher's probability of the tokens that it asks for.
        """
        batch = inputs.batch
        token_offsets, tables = TokenOffsets.of(batch), prefixes_of(batch.pair)
        moves, targets = moves_along(batch, token_offsets, tables, self.temperature), FirstTargets(tables, batch.device)
        forward, tokens = Divergence("forward"), token_offsets.first
        root = target_divergence(inputs, token_offsets, tokens, targets, moves, forward, self.temperature)
        if not self.child_weight:
            return LossSum(root.total, root.stats)
        total, stats = root.total, dict.fromkeys(("child", "begun"), root.total.new_zeros(()))
        for part in self._children(inputs, token_offsets):
            total = total + self.child_weight * part.total
            stats |= {name: stats[name] + value for name, value in part.stats.items()}
        return LossSum(total, root.stats | stats)

    def _children(self, inputs: LossInputs, token_offsets: TokenOffsets) -> list[TiledSum]:
        unfinished = unfinished_of(inputs.batch.pair, self.events == "routed")
        begun = Begun.of(inputs.batch, token_offsets, unfinished)
        if self.completion == "one_token":
            return [next_token_loss(inputs, begun, unfinished, normalise=self.normalise, temperature=self.temperature)]
        begun = on_path(inputs.batch, begun, unfinished)
        return [
            part(inputs, begun, unfinished, normalise=self.normalise, temperature=self.temperature)
            for part in (next_token_loss, path_loss)
        ]
