"""Scripts: which request meets which fault."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import cycle

from tests.teacher_server.faults import Fault
from tests.teacher_server.log import Seen

Script = Callable[[Seen], Fault | None]


def nothing(seen: Seen) -> Fault | None:
    return None


def scoring(fault: Fault) -> Script:
    """Every request for a prompt's log-probabilities."""
    return lambda seen: fault if seen.scores else None


def always(fault: Fault) -> Script:
    return lambda seen: fault


def when(holds: Callable[[Seen], bool], fault: Fault) -> Script:
    return lambda seen: fault if holds(seen) else None


def in_order(faults: Sequence[Fault | None]) -> Script:
    """The first completion requests meet these faults, one each; later ones meet none."""
    waiting, lock = list(faults), threading.Lock()

    def script(seen: Seen) -> Fault | None:
        with lock:
            return waiting.pop(0) if seen.ids and waiting else None

    return script


def first_tries(faults: Sequence[Fault | None], ids: Sequence[int] | None = None) -> Script:
    """The tries of every prompt meet these faults in order, then none; with `ids`, only of prompts that begin so."""
    tries: Counter[bytes] = Counter()
    lock = threading.Lock()

    def script(seen: Seen) -> Fault | None:
        if not seen.ids or (ids is not None and not begins(seen, ids)):
            return None
        with lock:
            number = tries[seen.raw]
            tries[seen.raw] += 1
        return faults[number] if number < len(faults) else None

    return script


def only(ids: Sequence[int], fault: Fault) -> Script:
    """Every try of the prompts that begin so."""
    return when(lambda seen: begins(seen, ids), fault)


def by_turns(path: str, faults: Sequence[Fault]) -> Script:
    """Requests to that path meet these faults in turn, over and over."""
    turns, lock = cycle(faults), threading.Lock()

    def script(seen: Seen) -> Fault | None:
        with lock:
            return next(turns) if seen.path == path else None

    return script


def at_random(faults: Sequence[Fault], share: float, seed: int) -> Script:
    """That share of all completion requests meets a random fault."""
    rng, lock = random.Random(seed), threading.Lock()

    def script(seen: Seen) -> Fault | None:
        if not seen.ids:
            return None
        with lock:
            return rng.choice(faults) if rng.random() < share else None

    return script


def begins(seen: Seen, ids: Sequence[int]) -> bool:
    return len(ids) > 0 and seen.ids[: len(ids)] == tuple(ids)
