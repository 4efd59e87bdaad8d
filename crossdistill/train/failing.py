"""Processes that stop together where one of them has to."""

from collections.abc import Iterator
from contextlib import contextmanager

from accelerate.utils import gather_object

from crossdistill.errors import TeacherError


@contextmanager
def failing_together() -> Iterator[None]:
    """A TeacherError of one process is raised in all of them, which would wait for it forever. Every process enters."""
    failure: TeacherError | None = None
    try:
        yield
    except TeacherError as error:
        failure = error
    told = [one for one in gather_object([None if failure is None else str(failure)]) if one is not None]
    if failure is not None:
        raise failure
    if told:
        raise TeacherError(told[0])
