"""Multiple choice: the choices in an order that the seed draws, named by letters."""

import random
from collections.abc import Sequence
from string import ascii_uppercase

from crossdistill.errors import InputError
from crossdistill.eval.problem import Problem
from crossdistill.eval.row import Row
from crossdistill.eval.tasks.instruction import instructed_text


def choice_problem(
    problem_id: str, question: str, choices: Sequence[str], right: int, seed: int, instruction: str
) -> Problem:
    """A problem whose reference is the letter of the right choice.

    The order depends on the seed and the id alone, so that a limit does not change it.

    Args:
        problem_id: of the problem.
        question: its text.
        choices: at most 26.
        right: index of the right one.
        seed: of the order.
        instruction: what the prompt ends with.

    Example:
        >>> problem = choice_problem("0", "What is 2 + 2?", ["4", "3", "5"], 0, seed=4, instruction="")
        >>> print(problem.prompt, problem.reference, sep="\\n")
        What is 2 + 2?
        <BLANKLINE>
        A) 5
        B) 4
        C) 3
        B
    """
    order = list(range(len(choices)))
    random.Random(f"{seed}/{problem_id}").shuffle(order)  # noqa: S311 - a draw, no secret
    listed = "\n".join(f"{ascii_uppercase[place]}) {choices[index]}" for place, index in enumerate(order))
    prompt = instructed_text(f"{question.rstrip()}\n\n{listed}\n", instruction).rstrip()
    return Problem(problem_id, prompt, ascii_uppercase[order.index(right)])


def letter(row: Row, letters: str) -> str:
    """The ``answer`` of a row whose prompt names its choices by letters.

    Args:
        row: of training data.
        letters: of the choices.

    Raises:
        InputError: it is none of them.

    Example:
        >>> letter(Row({"prompt": "Which is a prime? A) 4 B) 5", "answer": "B"}, 0, "the training data"), "AB")
        'B'
    """
    answer = row.text("answer").strip()
    if len(answer) != 1 or answer not in letters:
        raise InputError(
            f"{row.where} has {answer!r} as 'answer': give the letter of the right choice as the prompt names it, one "
            f"of {', '.join(letters)}."
        )
    return answer
