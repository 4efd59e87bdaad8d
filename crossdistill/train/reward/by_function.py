"""A reward by a Python function, called as TRL calls those of its GRPOTrainer."""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from crossdistill.errors import InputError
from crossdistill.train.reward.base import Answer, Grade, Reward

_OWN = ("prompts", "completions", "completion_ids")
"""Keywords of what was sampled; the others are columns of the data."""


class FunctionReward(Reward):
    """What a function returns.

    It is called with keywords: `prompts`; `completions`, texts, or with messages as prompts a list of messages each;
    `completion_ids`; and each other column of the data as a list. It returns one number for each, or None for a
    response that has no reward. So a reward function of TRL's GRPOTrainer does as it is.

    Args:
        function: to call.
        name: of it.
    """

    def __init__(self, function: Callable[..., Any], name: str):
        self._function = function
        self.name = name

    def check(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Check that the function can be called with the columns of the data."""
        names = dict.fromkeys(name for row in rows for name in row if name != "prompt")
        taken = [name for name in names if name in _OWN]
        if taken:
            raise InputError(
                f"the training data has a column {taken[0]!r}, and the reward {self.name!r} is given what was sampled "
                "by that name: rename the column."
            )
        given = [*_OWN, *names]
        try:
            inspect.signature(self._function).bind(**dict.fromkeys(given))
        except TypeError as error:
            raise InputError(
                f"the reward {self.name!r} cannot be called: {error}; it is given {', '.join(given)}."
            ) from None
        except ValueError:  # of some functions in C the arguments are not known
            return

    def grade(self, answers: Sequence[Answer]) -> list[Grade]:
        columns = {name: None for answer in answers for name in answer.row if name != "prompt"}
        values = self._function(
            prompts=[answer.prompt for answer in answers],
            completions=[list(answer.conversation) or answer.text for answer in answers],
            completion_ids=[list(answer.ids) for answer in answers],
            **{name: [answer.row.get(name) for answer in answers] for name in columns},
        )
        is_list = isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)
        numbers = [self._number(value) for value in values] if is_list else []
        if not is_list or len(numbers) != len(answers):
            given = f"{len(numbers)} values" if is_list else f"an object of type {type(values).__name__}"
            raise InputError(
                f"the reward {self.name!r} gave {given} for {len(answers)} responses: return a list with a number, or "
                "None, for each."
            )
        return [Grade(number) for number in numbers]

    def _number(self, value: Any) -> float | None:
        if value is None:
            return None
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise InputError(f"the reward {self.name!r} gave {value!r}: return a finite number, or None for none.")
        return number
