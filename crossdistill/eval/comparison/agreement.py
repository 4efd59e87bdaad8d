"""Whether evaluations may be compared: the same problems, sampled in the same way."""

from collections.abc import Iterator, Sequence

from crossdistill.errors import InputError
from crossdistill.eval.comparison.outcomes import Outcomes

_OF_THE_MODEL = {"template_kwargs"}  # each model's template has its own, such as enable_thinking
_OF_CHANCE = {"seed"}


def check_agreement(evaluations: Sequence[tuple[str, Outcomes]]) -> None:
    """Check that all evaluations of one task are of the same problems and settings.

    Keyword arguments of chat templates may differ, for they belong to a model, and so may the seed of the samples.

    Args:
        evaluations: names and outcomes.

    Raises:
        InputError: one differs from the first; the message names both and what differs.

    Example:
        >>> first = Outcomes("sums", "a", "d1", {"k": 1, "temperature": 0.0}, {}, {"0": (True,)})
        >>> second = Outcomes("sums", "b", "d1", {"k": 1, "temperature": 1.0}, {}, {"0": (True,)})
        >>> try:
        ...     check_agreement([("a", first), ("b", second)])
        ... except InputError as error:
        ...     print(str(error)[:71])
        a and b were not sampled alike on 'sums': temperature (0.0 and 1.0). Ev
    """
    (name, first), *others = evaluations
    for other_name, other in others:
        settings = list(_settings(first, other))
        if settings:
            raise InputError(
                f"{name} and {other_name} were not sampled alike on {first.task!r}: {', '.join(settings)}. Evaluate "
                "one of them again with the other's settings."
            )
        problems = list(_problems(first, other))
        if problems:
            raise InputError(
                f"{name} and {other_name} are of other problems of {first.task!r}: {', '.join(problems)}. Evaluate one "
                "of them again on the other's problems."
            )


def _settings(first: Outcomes, other: Outcomes) -> Iterator[str]:
    for key in sorted({*first.sampling, *other.sampling} - _OF_THE_MODEL - _OF_CHANCE):
        ours, theirs = first.sampling.get(key), other.sampling.get(key)
        if ours != theirs:
            yield f"{key} ({ours!r} and {theirs!r})"


def _problems(first: Outcomes, other: Outcomes) -> Iterator[str]:
    if first.digest == other.digest and first.correct.keys() == other.correct.keys():
        return
    selections = list(_selections(first, other))
    yield from selections or ["the texts or answers themselves"]


def _selections(first: Outcomes, other: Outcomes) -> Iterator[str]:
    for key, ours in first.selection.items():
        theirs = other.selection.get(key)
        if ours != theirs:
            yield f"{key} ({ours!r} and {theirs!r})"
