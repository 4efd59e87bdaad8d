"""Grading several responses at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def default_workers() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def side_by_side(
    function: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    threads: int,
    ahead: int,
    end: Callable[[], object] = lambda: None,
) -> Iterator[_Result]:
    """The results of a function, in the order of the items.

    Args:
        function: of one item.
        items: read no further than needed, so that they may be made as they are taken.
        threads: that call the function.
        ahead: the most items that are read before a result is given.
        end: called if no more results are wanted, as after Ctrl-C: lets the calls that still run return soon.

    Example:
        >>> list(side_by_side(abs, [-1, 2, -3], threads=2, ahead=2))
        [1, 2, 3]
    """
    with ThreadPoolExecutor(threads) as executor:
        waiting: deque[Future[_Result]] = deque()
        try:
            for item in items:
                waiting.append(executor.submit(function, item))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BaseException:
            for future in waiting:
                future.cancel()
            end()
            raise
