"""Counts every sampled token as supervised, or as dropped for a named reason."""

from dataclasses import dataclass, field
from enum import StrEnum


class DropReason(StrEnum):
    """Why a sampled token got no teacher signal.

    Example:
        >>> str(DropReason.UNENCODABLE)
        'unencodable'
    """

    SPECIAL_TOKEN = "special_token"  # noqa: S105 - a control token in the middle of a response, which has no bytes
    STOP_TOKEN = "stop_token"  # noqa: S105 - the end of the turn, if the run is configured not to teach it
    UNENCODABLE = "unencodable"  # the teacher's vocabulary cannot encode a byte of the chunk
    TEACHER_CONTEXT = "teacher_context"  # the sample does not fit into the teacher's context
    TEACHER_TEMPLATE = "teacher_template"  # the teacher's chat template refuses the conversation before the response
    TEACHER_REFUSED = "teacher_refused"  # the teacher's server cannot score this sample, but scores others
    NON_FINITE = "non_finite"  # the teacher's log-probabilities were NaN or infinite
    NO_REFERENCE = "no_reference"  # the teacher scores the chunk, and the reference not all of its tokens
    INCOMPLETE = "incomplete"  # a part of the response is not scored, and the objective compares whole responses
    ALONE = "alone"  # no other response to its prompt was scored, and the objective compares them


@dataclass
class Count:
    """A number of tokens, and the bytes that they carry."""

    tokens: int = 0
    bytes: int = 0

    def minus(self, other: "Count") -> "Count":
        return Count(self.tokens - other.tokens, self.bytes - other.bytes)


@dataclass
class Coverage:
    """Sampled tokens and bytes, split into supervised ones and dropped ones by reason.

    Attributes:
        supervised: tokens with a teacher signal.
        dropped: tokens without one, by reason; reasons without tokens are absent.

    Example:
        >>> coverage = Coverage()
        >>> coverage.supervise(tokens=9, num_bytes=38)
        >>> coverage.drop(DropReason.UNENCODABLE, tokens=1, num_bytes=2)
        >>> coverage.share, coverage.token_share
        (0.95, 0.9)
    """

    supervised: Count = field(default_factory=Count)
    dropped: dict[DropReason, Count] = field(default_factory=dict)

    @property
    def sampled(self) -> Count:
        """All sampled tokens."""
        counts = [self.supervised, *self.dropped.values()]
        return Count(sum(count.tokens for count in counts), sum(count.bytes for count in counts))

    @property
    def share(self) -> float:
        """Share of the sampled bytes that are supervised; 1.0 if nothing was sampled."""
        return self.supervised.bytes / self.sampled.bytes if self.sampled.bytes else 1.0

    @property
    def token_share(self) -> float:
        """Share of the sampled tokens that are supervised, not counting stops that the run does not teach.

        Control tokens have no bytes, so :attr:`share` does not show their loss. 1.0 if nothing was sampled.
        """
        taught = self.sampled.tokens - self.dropped.get(DropReason.STOP_TOKEN, Count()).tokens
        return self.supervised.tokens / taught if taught else 1.0

    def since(self, earlier: "Coverage") -> "Coverage":
        """The coverage of what was sampled after `earlier`, an earlier copy of these counts."""
        counts = {reason: count.minus(earlier.dropped.get(reason, Count())) for reason, count in self.dropped.items()}
        dropped = {reason: count for reason, count in counts.items() if count.tokens}
        return Coverage(self.supervised.minus(earlier.supervised), dropped)

    def supervise(self, tokens: int, num_bytes: int) -> None:
        """Count tokens as supervised."""
        self.supervised.tokens += tokens
        self.supervised.bytes += num_bytes

    def drop(self, reason: DropReason, tokens: int, num_bytes: int) -> None:
        """Count tokens as dropped for a reason; zero tokens leave no record."""
        if tokens:
            count = self.dropped.setdefault(reason, Count())
            count.tokens += tokens
            count.bytes += num_bytes

    def add(self, other: "Coverage") -> None:
        """Add the counts of another coverage."""
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
