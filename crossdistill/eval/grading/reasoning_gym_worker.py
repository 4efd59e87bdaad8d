"""A process that makes the problems of a generator of reasoning-gym and grades answers to them.

Some generators make other problems in each process, because the order of a set of texts does: this one is started with
``PYTHONHASHSEED=0``. Some verifiers evaluate an answer as Python: it is looked at first.

The command line has the generator's name and, as JSON, its configuration.
"""

import json
import re
import sys
import warnings
from functools import cache
from typing import Any

from crossdistill.eval.grading.expression import is_arithmetic, is_literal
from crossdistill.eval.grading.serving import serve

EVALUATING = {
    **dict.fromkeys(("binary_matrix", "n_queens", "spiral_matrix", "string_insertion"), is_literal),
    **dict.fromkeys(
        ("countdown", "intermediate_integration", "polynomial_multiplication", "puzzle24", "simple_integration"),
        is_arithmetic,
    ),
}
"""Generators whose verifiers evaluate an answer as Python -> what the answer has to be."""
BY_TEXT = {"game_of_life_halting"}
"""Generators whose verifiers hold every text for right (in 0.1.25): their answers are compared as texts."""
WITH_NUMBERS = {"puzzle24"}
"""Generators whose verifiers take any numbers (in 0.1.25): those of the problem have to be used."""
_RIGHT = 1 - 1e-9
_SECONDS = 600


class Answers:
    """The problems of one generator, and verdicts of its verifier.

    Args:
        generator: its name.
        settings: its configuration.

    Example:
        >>> answers = Answers("chain_sum", {"seed": 0, "size": 1})
        >>> right = answers({"index": 0})["answer"]
        >>> answers({"index": 0, "given": right}), answers({"index": 0, "given": "none"})
        ({'correct': True}, {'correct': False})
    """

    def __init__(self, generator: str, settings: dict[str, Any]) -> None:
        import reasoning_gym

        self._generator = generator
        self._dataset = reasoning_gym.create_dataset(generator, **settings)
        self._entry = cache(self._dataset.__getitem__)

    def __call__(self, question: dict[str, Any]) -> dict[str, Any]:
        """The entry of an ``index``, or whether the answer that is ``given`` to it is right."""
        entry = self._entry(question["index"])
        if "given" not in question:
            return {name: entry[name] for name in ("question", "answer", "metadata")}
        given = question["given"]
        if not EVALUATING.get(self._generator, lambda text: True)(given):
            return {"correct": False, "reason": "no expression that can be evaluated safely"}
        if self._generator in BY_TEXT:
            return {"correct": given == entry["answer"]}
        if self._generator in WITH_NUMBERS and _numbers(given) != sorted(entry["metadata"]["numbers"]):
            return {"correct": False, "reason": "other numbers than the problem's"}
        try:
            return {"correct": bool(self._dataset.score_answer(given, entry) >= _RIGHT)}
        except Exception as error:  # noqa: BLE001 - an answer that breaks a verifier is wrong
            return {"correct": False, "reason": f"cannot be verified: {type(error).__name__}"}


def _numbers(text: str) -> list[int]:
    return sorted(int(number) for number in re.findall(r"\d+", text))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    serve(Answers(sys.argv[1], json.loads(sys.argv[2])), _SECONDS)
