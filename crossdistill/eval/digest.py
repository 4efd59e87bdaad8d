"""What tells whether two evaluations asked the same problems."""

import json
from collections.abc import Iterable
from hashlib import sha256

from crossdistill.eval.problem import Problem


def digest(problems: Iterable[Problem]) -> str:
    """A hash of the ids, prompts and references of problems, in order.

    Args:
        problems: of one task.

    Returns:
        SHA-256, in hexadecimal.

    Example:
        >>> one, other = Problem("0", "What is 2 + 2?", "4"), Problem("0", "What is 2 + 2?", "5")
        >>> digest([one]) == digest([one]), digest([one]) == digest([other])
        (True, False)
    """
    total = sha256()
    for problem in problems:
        content = json.dumps(
            [problem.id, problem.prompt, problem.reference], sort_keys=True, default=list
        )  # tests may be unpacked when they are read
        total.update(content.encode("ascii") + b"\n")
    return total.hexdigest()
