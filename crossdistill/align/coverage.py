"""What became of every sampled token: supervised, or dropped under a named reason."""

from dataclasses import dataclass, field
from enum import StrEnum


class DropReason(StrEnum):
    """Why a sampled token got no teacher signal."""

    SPECIAL_TOKEN = "special_token"  # noqa: S105 - a control token in the middle of a response: it stands for no bytes
    STOP_TOKEN = "stop_token"  # noqa: S105 - the run was told not to teach the end of the turn
    UNENCODABLE = "unencodable"  # the teacher's vocabulary cannot spell a byte of the chunk
    TEACHER_CONTEXT = "teacher_context"  # the sample does not fit the teacher's context
    TEACHER_TEMPLATE = "teacher_template"  # the teacher's chat template refuses the conversation before the response
    TEACHER_REFUSED = "teacher_refused"  # the teacher's server cannot score the sample, while it scores others
    NON_FINITE = "non_finite"  # the teacher's log-probabilities were NaN or infinite


@dataclass
class Count:
    """Tokens and the bytes they stand for."""

    tokens: int = 0
    bytes: int = 0

    def minus(self, other: "Count") -> "Count":
        return Count(self.tokens - other.tokens, self.bytes - other.bytes)


@dataclass
class Coverage:
    """Sampled tokens and bytes, split into supervised ones and dropped ones by reason."""

    supervised: Count = field(default_factory=Count)
    dropped: dict[DropReason, Count] = field(default_factory=dict)

    @property
    def sampled(self) -> Count:
        counts = [self.supervised, *self.dropped.values()]
        return Count(sum(count.tokens for count in counts), sum(count.bytes for count in counts))

    @property
    def share(self) -> float:
        """Share of the sampled bytes that are supervised; 1.0 where nothing was sampled."""
        return self.supervised.bytes / self.sampled.bytes if self.sampled.bytes else 1.0

    @property
    def token_share(self) -> float:
        """Share of the sampled tokens that are supervised, without stops that the run was told not to teach.

        Control tokens stand for no bytes, so :attr:`share` does not see them lost. 1.0 where nothing was sampled.
        """
        taught = self.sampled.tokens - self.dropped.get(DropReason.STOP_TOKEN, Count()).tokens
        return self.supervised.tokens / taught if taught else 1.0

    def since(self, earlier: "Coverage") -> "Coverage":
        """What was sampled after `earlier`, a state of the same counts."""
        counts = {reason: count.minus(earlier.dropped.get(reason, Count())) for reason, count in self.dropped.items()}
        dropped = {reason: count for reason, count in counts.items() if count.tokens}
        return Coverage(self.supervised.minus(earlier.supervised), dropped)

    def supervise(self, tokens: int, num_bytes: int) -> None:
        self.supervised.tokens += tokens
        self.supervised.bytes += num_bytes

    def drop(self, reason: DropReason, tokens: int, num_bytes: int) -> None:
        """Count tokens under a reason; nothing is recorded for zero tokens."""
        if tokens:
            count = self.dropped.setdefault(reason, Count())
            count.tokens += tokens
            count.bytes += num_bytes

    def add(self, other: "Coverage") -> None:
        self.supervise(other.supervised.tokens, other.supervised.bytes)
        for reason, count in other.dropped.items():
            self.drop(reason, count.tokens, count.bytes)

    def as_dict(self) -> dict[str, object]:
        """The ``coverage`` entry of ``run.json``."""
        return {
            "sampled_bytes": self.sampled.bytes,
            "supervised_bytes": self.supervised.bytes,
            "dropped": {str(reason): count.bytes for reason, count in self.dropped.items()},
            "sampled_tokens": self.sampled.tokens,
            "supervised_tokens": self.supervised.tokens,
            "dropped_tokens": {str(reason): count.tokens for reason, count in self.dropped.items()},
        }
