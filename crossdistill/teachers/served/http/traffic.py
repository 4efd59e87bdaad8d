"""Counters of what passed between a run and its teacher's server."""

from dataclasses import asdict, dataclass


@dataclass
class Traffic:
    """Counters since the teacher was made.

    Attributes:
        requests: sent, retries included.
        retries: requests that were sent again after a failure.
        waited_s: seconds of waiting before retries, added up over all requests.
        sent_bytes: of request bodies.
        received_bytes: of answers' bodies.
        cache_hits: scores that the cache had.
        checks: requests for the fingerprint after the probe.

    Example:
        >>> Traffic(requests=3, retries=1).as_dict()["retries"]
        1
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
