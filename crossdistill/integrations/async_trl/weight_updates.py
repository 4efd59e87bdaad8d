"""Weight updates that fail in all processes together, although only the first one sends weights."""

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from crossdistill.errors import InputError, OutOfSpaceError, RolloutServerError, ServerError

ERRORS = (InputError, RolloutServerError, ServerError, OutOfSpaceError)
"""What an update can fail with; for `raised_on_all`."""


class WeightUpdates:
    """TRL's WeightTransferProtocol around another one, whose failure it keeps until every process can raise it.

    The other processes wait at barriers within an update, and gather sharded weights for it. So the update goes on to
    its end, without sending anything more, and the engine is let go on in any case.

    Args:
        transfer: brings the weights to the engine that samples.

    Example:
        >>> class Broken:
        ...     def pause(self):
        ...         raise RuntimeError("gone")
        >>> updates = WeightUpdates(Broken())
        >>> updates.pause()
        >>> try:
        ...     updates.raise_failure()
        ... except RolloutServerError as error:
        ...     print(str(error)[:74])
        the weights did not reach the engine that samples (RuntimeError: gone): se
    """

    def __init__(self, transfer: Any):
        self.transfer = transfer
        self._failure: Exception | None = None
        self._is_paused = False

    def init_weight_transfer(self) -> None:
        self._attempt(self.transfer.init_weight_transfer)

    def pause(self) -> None:
        self._is_paused = self._attempt(self.transfer.pause)

    def send_weights(self, iterator: Iterator[tuple[str, Tensor]]) -> None:
        try:
            self._attempt(lambda: self.transfer.send_weights(iterator))
        finally:
            for _ in iterator:  # the other processes gather all weights
                pass

    def resume(self) -> None:
        failure, self._failure = self._failure, None
        if self._is_paused:
            self._attempt(self.transfer.resume)
        self._is_paused = False
        self._failure = failure or self._failure

    def destroy(self) -> None:
        self.transfer.destroy()

    def raise_failure(self) -> None:
        """Raise what the latest update failed with.

        Raises:
            InputError, ServerError, OutOfSpaceError: the transfer's own; anything else as a RolloutServerError.
        """
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def _attempt(self, call: Callable[[], Any]) -> bool:
        """Whether the call was made and did not fail; none is made after a failure."""
        if self._failure is not None:
            return False
        try:
            call()
        except ERRORS as error:
            self._failure = error
        except Exception as error:  # noqa: BLE001 - of any library that transfers weights; raised by raise_failure
            self._failure = RolloutServerError(
                f"the weights did not reach the engine that samples ({type(error).__name__}: {error}): see its log."
            )
            self._failure.__cause__ = error
        return self._failure is None
