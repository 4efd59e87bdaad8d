"""Health of a server: whether it still serves the model that the run began with."""

import asyncio

import numpy as np

from crossdistill.errors import TeacherUnavailableError
from crossdistill.teachers.served.api.client import ScoringClient, changed, served_models
from crossdistill.teachers.served.capabilities import Capabilities
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats
from crossdistill.teachers.served.http.connection import Connection
from crossdistill.teachers.served.http.errors import Refused, shown
from crossdistill.teachers.served.http.retry_policy import RetryPolicy


class Health:
    """Takes the fingerprint again.

    This distinguishes a server that fails from one that cannot score a certain sample, and the same server after an
    outage from another one in its place.

    Args:
        connection: to the server.
        client: sends one request.
        retry: sends requests again.
        capabilities: of the server, with the fingerprint of the model that the run began with.

    Attributes:
        verified_at: when the fingerprint was last taken and the same, by the clock of `retry`; -inf before.
    """

    def __init__(self, connection: Connection, client: ScoringClient, retry: RetryPolicy, capabilities: Capabilities):
        self.verified_at = float("-inf")
        self._connection = connection
        self._client = client
        self._retry = retry
        self._capabilities = capabilities
        self._sent_at = float("-inf")
        self._lock = asyncio.Lock()

    async def check(self, since: float) -> None:
        """Return when the fingerprint has been found the same at a moment after `since`.

        Args:
            since: by the clock of the retry policy.

        Raises:
            TeacherUnavailableError: the server does not answer within its patience, or refuses to score the
                fingerprint.
            TeacherChangedError: another model answers.
        """
        async with self._lock:
            if self.verified_at > since:
                return
            self._connection.traffic.checks += 1
            try:
                found = await self._retry(self._fingerprint)
            except Refused as refusal:
                raise TeacherUnavailableError(
                    f"the teacher at {self._connection.url} refuses what it accepted before ({refusal}). Repair the "
                    "server and resume the run."
                ) from None
            difference = difference_nats(found, self._capabilities.fingerprint)
            if not difference <= TOLERANCE_NATS:
                raise changed(
                    self._connection.url,
                    f"its log-probabilities of a known text differ by {difference:.2g} nats on average",
                )
            self.verified_at = self._sent_at

    async def check_if_lost(self) -> None:
        """After a connection broke, check the fingerprint before any other answer counts."""
        while self._retry.lost_at >= self.verified_at and self._retry.lost_at > float("-inf"):
            await self.check(self._retry.lost_at)

    async def _fingerprint(self) -> np.ndarray:
        self._sent_at = self._retry.clock()
        try:
            return (await self._client.score(self._capabilities.fingerprint_ids, 0)).logprobs
        except Refused:
            await self._check_listed()
            raise

    async def _check_listed(self) -> None:
        """Each server has its own words for a model that it no longer serves; its list of models is unambiguous."""
        models = await served_models(self._connection) if self._capabilities.lists_models else None
        if models is not None and self._capabilities.model not in models:
            listed = ", ".join(shown(name) for name in models) or "nothing"
            raise changed(self._connection.url, f"it serves {listed} in place of {self._capabilities.model!r}")
