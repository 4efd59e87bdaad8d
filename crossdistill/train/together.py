"""Several processes that end together: an error of one is raised in all, which would wait for it forever."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from accelerate.utils import gather_object

from crossdistill.errors import is_known_to_all, mark_known_to_all


@contextmanager
def raised_on_all(*kinds: type[Exception]) -> Iterator[None]:
    """Raise an error of one process in all. Every process must enter.

    Blocks may be nested, and the process that fails may leave an inner one out: an error that all processes know is not
    told again.

    Args:
        *kinds: of errors that are told; all others pass. A process to which one is told raises it as the first of these
            kinds that it is an instance of.
    """
    failure: Exception | None = None
    try:
        yield
    except kinds as error:
        if is_known_to_all(error):
            raise
        failure = error
    told = failure and (next(k for k, kind in enumerate(kinds) if isinstance(failure, kind)), _arguments(failure))
    failures = [one for one in gather_object([told]) if one is not None]
    if not failures:
        return
    if failure is None:
        number, arguments = failures[0]
        failure = kinds[number](*arguments)
    mark_known_to_all(failure)
    raise failure


def _arguments(error: Exception) -> tuple[Any, ...]:
    """What an error is made of, as its class says for pickle."""
    reduced = error.__reduce__()
    return reduced[1] if isinstance(reduced, tuple) else error.args
