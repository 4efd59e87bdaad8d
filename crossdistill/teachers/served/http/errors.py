"""Failures of a request, by whether another try can help."""

from crossdistill.align import DropReason

_MAX_SHOWN = 200
_CONTEXT = ("context length", "context_length", "context window", "context size", "maximum context", "max_model_len")


class Transient(Exception):  # noqa: N818 - a state of affairs, which may pass
    """Another try may succeed.

    Attributes:
        retry_after_s: how long the server asks to be left alone; None if it does not ask.
        is_busy: the server says that it has too much to do, which says nothing about the request.
        is_lost: the connection broke, or nobody is behind it: the next answer may come from another server.
    """

    def __init__(
        self, message: str, retry_after_s: float | None = None, *, is_busy: bool = False, is_lost: bool = False
    ):
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.is_busy = is_busy
        self.is_lost = is_lost


class Unreachable(Transient):
    """No connection was made, so nothing was sent: nobody is there, or not yet."""


class TooSlow(Transient):
    """No answer within the time-out."""


class Malformed(Transient):
    """An answer that does not have the form, or the tokens, that were asked for."""


class Unsound(Malformed):
    """Log-probabilities that are impossible: NaN, infinite, positive, or adding up to more than 1."""


class Refused(Exception):  # noqa: N818 - the server's word for it
    """This request will never succeed.

    Attributes:
        status: of the answer; None if nothing was sent.
        is_too_long: whether the server refuses it because of its length.
    """

    def __init__(self, status: int | None, message: str):
        super().__init__(message if status is None else f"{message} (status {status})")
        self.status = status
        lowered = message.lower()
        self.is_too_long = status == 413 or any(phrase in lowered for phrase in _CONTEXT)


def drop_reason(failure: Transient | Refused) -> DropReason:
    """The reason under which a sample is counted that the server cannot score while it scores others."""
    if isinstance(failure, Unsound):
        return DropReason.NON_FINITE
    if isinstance(failure, Refused) and failure.is_too_long:
        return DropReason.TEACHER_CONTEXT
    return DropReason.TEACHER_REFUSED


def quoted(text: object) -> str:
    """A server's text as data, in quotes."""
    return f"'{shown(text)}'"


def shown(text: object) -> str:
    """A server's text as data: its beginning, with control characters escaped. Whoever prints it escapes markup."""
    whole = str(text)
    cut = whole if len(whole) <= _MAX_SHOWN else whole[:_MAX_SHOWN] + "..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
