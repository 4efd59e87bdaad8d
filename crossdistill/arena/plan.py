"""Which cells an arena has, and which of them can be run."""

from collections.abc import Callable, Iterator, Mapping

from crossdistill.arena.cell import START, TEACHER, Cell
from crossdistill.arena.file import ArenaFile
from crossdistill.arena.outcome import Outcome
from crossdistill.arena.tables import CONTROLS
from crossdistill.arena.tuning import chosen_rate

Outcomes = Mapping[Cell, Outcome]


def entrants(arena: ArenaFile, pair: str) -> list[str]:
    """The methods of a pair, then the controls that it has the means for."""
    named = [*arena.methods, *(control for control in CONTROLS if control in arena.controls)]
    return [name for name in named if lacking_of(arena, pair, name) is None]


def lacking_of(arena: ArenaFile, pair: str, method: str) -> str | None:
    """Why a method or control is not run on a pair at all; None if it is."""
    table, entered = arena.pairs[pair], arena.methods.get(method)
    if entered is not None and entered.pairs is not None and pair not in entered.pairs:
        return f"[methods.{method}] pairs leaves {pair} out"
    if method == "same_tokenizer" and table.same_tokenizer_teacher is None:
        return f"[pairs.{pair}] names no same_tokenizer_teacher"
    if method == "sft" and arena.task_of(pair).examples is None:
        return f"[tasks.{table.task}] names no examples"
    return None


def models(arena: ArenaFile) -> list[Cell]:
    """The start and the teacher of each pair."""
    return [Cell(pair, model, "model") for pair in arena.pairs for model in (START, TEACHER)]


def tuning(arena: ArenaFile, pair: str, entrant: str) -> list[Cell]:
    """The runs by which the rate of a method is chosen."""
    return [Cell(pair, entrant, "tune", rate, arena.tuning_seed) for rate in tuned_rates(arena)]


def tuned_rates(arena: ArenaFile) -> list[float]:
    """The rates that are tried; none if there is one, which leaves no choice."""
    return arena.rates if len(arena.rates) > 1 else []


def rate_of(arena: ArenaFile, pair: str, entrant: str, outcomes: Outcomes) -> float | None:
    """The rate that a method is compared at; None if it is not known yet, or if no run at any rate went to its end."""
    if len(arena.rates) == 1:
        return arena.rates[0]
    tried = [outcomes.get(cell) for cell in tuning(arena, pair, entrant)]
    return None if None in tried else chosen_rate(filter(None, tried))


def tests(arena: ArenaFile, pair: str, entrant: str, rate: float) -> list[Cell]:
    """The runs that are compared, at the chosen rate."""
    return [Cell(pair, entrant, "test", rate, seed) for seed in arena.seeds]


def num_cells(arena: ArenaFile) -> int:
    """Cells of the whole arena."""
    return len(planned(arena, {}))


def every_cell(arena: ArenaFile) -> Callable[[Cell], bool]:
    """Tells whether a cell is one of the arena's, whatever rate may be chosen for it."""
    return {*possible(arena)}.__contains__


def possible(arena: ArenaFile) -> list[Cell]:
    """The arena's cells, with the tests of each method at every rate that may be chosen for it."""
    cells = models(arena)
    for pair in arena.pairs:
        for entrant in entrants(arena, pair):
            cells += tuning(arena, pair, entrant)
            for rate in arena.rates:
                cells += tests(arena, pair, entrant, rate)
    return cells


def wanted(arena: ArenaFile, outcomes: Outcomes) -> list[Cell]:
    """The cells that are known so far, the next ones first; those of a method's tests once its rate is chosen.

    All methods have their first seed before one has its second, so that an arena that is stopped can be read.

    Args:
        arena: the file.
        outcomes: of the cells that are finished.
    """
    by_seed = sorted(_known_tests(arena, outcomes), key=lambda cell: arena.seeds.index(cell.seed or 0))
    return [*models(arena), *_all_tuning(arena), *by_seed]


def planned(arena: ArenaFile, outcomes: Outcomes) -> list[Cell]:
    """All cells that there are to be, as far as it is known: a rate that is not chosen yet is shown as the lowest.

    Args:
        arena: the file.
        outcomes: of the cells that are finished.
    """
    cells = models(arena)
    for pair in arena.pairs:
        for entrant in entrants(arena, pair):
            tried = tuning(arena, pair, entrant)
            is_tuned = all(cell in outcomes for cell in tried)
            rate = rate_of(arena, pair, entrant, outcomes) if is_tuned else arena.rates[0]
            cells += [*tried, *([] if rate is None else tests(arena, pair, entrant, rate))]
    return cells


def _all_tuning(arena: ArenaFile) -> Iterator[Cell]:
    for pair in arena.pairs:
        for entrant in entrants(arena, pair):
            yield from tuning(arena, pair, entrant)


def _known_tests(arena: ArenaFile, outcomes: Outcomes) -> Iterator[Cell]:
    for pair in arena.pairs:
        for entrant in entrants(arena, pair):
            rate = rate_of(arena, pair, entrant, outcomes)
            if rate is not None:
                yield from tests(arena, pair, entrant, rate)
