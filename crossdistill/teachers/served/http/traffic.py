"""What passed between a run and its teacher's server."""

from dataclasses import asdict, dataclass


@dataclass
class Traffic:
    """requests: sent, retries included. retries: after a failure. waited_s: before these, all requests together.

    sent_bytes, received_bytes: bodies. cache_hits: scores that were not asked for. checks: times that the server was
    asked for its reference scores again.
    """

    requests: int = 0
    retries: int = 0
    waited_s: float = 0.0
    sent_bytes: int = 0
    received_bytes: int = 0
    cache_hits: int = 0
    checks: int = 0

    def as_dict(self) -> dict[str, int | float]:
        return asdict(self)
