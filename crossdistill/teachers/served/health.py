"""Whether the server still is the one that the run began with."""

import asyncio

import numpy as np

from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers.served.api.client import ScoringClient, changed, served_models
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Refused, shown
from crossdistill.teachers.served.http.retry_policy import RetryPolicy
from crossdistill.teachers.served.probe import Capabilities


class Health:
    """Has the reference text scored again.

    That is how a server that fails is told from one that cannot score a certain sample, and a server that came back
    from another one in its place.

    Attributes:
        well_at: when it was last seen to be well, by the clock of the retrying; -inf before.
    """

    def __init__(self, connection: Connection, asker: ScoringClient, retrying: RetryPolicy, capability: Capabilities):
        self.well_at = float("-inf")
        self._connection = connection
        self._asker = asker
        self._retrying = retrying
        self._capability = capability
        self._begun_at = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, since: float) -> None:
        """Returns when the server was found well at a moment after `since` (by the clock of the retrying).

        Raises TeacherUnavailableError where it is not in all the time that it is given, and TeacherChangedError where
        another model answers.
        """
        async with self._lock:
            if self.well_at > since:
                return
            self._connection.traffic.checks += 1
            try:
                found = await self._retrying(self._reference)
            except Refused as refusal:
                raise TeacherUnavailableError(
                    f"the teacher at {self._connection.url} refuses what it took before ({refusal}). Set the server "
                    "right and resume the run."
                ) from None
            difference = difference_nats(found, self._capability.reference)
            if not difference <= TOLERANCE_NATS:
                raise changed(
                    self._connection.url,
                    f"its log-probabilities of a known text differ by {difference:.2g} nats in the mean",
                )
            self.well_at = self._begun_at

    async def check_if_lost(self) -> None:
        """After a connection broke, nothing that is said counts before the server has been found to be the same."""
        while self._retrying.lost_at >= self.well_at and self._retrying.lost_at > float("-inf"):
            await self.check(self._retrying.lost_at)

    async def _reference(self) -> np.ndarray:
        self._begun_at = self._retrying.clock()
        try:
            return (await self._asker.score(self._capability.reference_ids, 0)).logprobs
        except Refused:
            await self._check_listed()
            raise

    async def _check_listed(self) -> None:
        """A server that has no such model any more says so in words of its own; its list tells it for certain."""
        models = await served_models(self._connection) if self._capability.lists_models else None
        if models is not None and self._capability.model not in models:
            listed = ", ".join(shown(name) for name in models) or "nothing"
            raise changed(self._connection.url, f"it serves {listed} in place of {self._capability.model!r}")
