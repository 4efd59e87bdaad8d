"""Errors with a message for the user."""

_KNOWN_TO_ALL = "known_to_all"


class InputError(ValueError):
    """Bad input from the user. The message names the thing, the reason and the way out.

    The command line prints the message and exits with code 2.

    Example:
        >>> from crossdistill import ByteVocab
        >>> from crossdistill.tokens import World
        >>> try:
        ...     ByteVocab.from_tokenizer(World({byte: bytes([byte]) for byte in range(255)}))
        ... except InputError as error:
        ...     print(str(error)[:67])
        this longest-match vocabulary has no entry for the byte 0xff, so it
    """


class ServerError(RuntimeError):
    """A server that a run needs failed. What was trained so far is sound, and the run can be resumed."""


class RolloutServerError(ServerError):
    """The engine that samples, such as vLLM's server, failed or does not answer."""


class TeacherError(ServerError):
    """A served teacher failed."""


class TeacherUnavailableError(TeacherError):
    """The server did not answer within the patience of the run, or refuses requests that it accepted at the start."""


class TeacherChangedError(TeacherError):
    """The server now answers with another model than at the start of the run."""


class OutOfSpaceError(RuntimeError):
    """A disk is full. What was saved before is whole, and the run can be resumed once there is room.

    The command line prints the message and exits with code 74.
    """


class EvaluationError(RuntimeError):
    """An evaluation during training, or the reward of a run, failed.

    What was trained so far is saved, and the run can be resumed.

    The command line prints the message and exits with code 70.
    """


def mark_known_to_all(error: BaseException) -> None:
    """Note that all processes of a run have raised this error."""
    setattr(error, _KNOWN_TO_ALL, True)


def is_known_to_all(error: BaseException) -> bool:
    """Whether all processes of a run have raised this error.

    Example:
        >>> is_known_to_all(InputError("there is no such file."))
        False
    """
    return bool(getattr(error, _KNOWN_TO_ALL, False))
