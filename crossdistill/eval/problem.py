"""A problem of a task."""

from dataclasses import dataclass
from typing import Any

from crossdistill.chat.messages import Prompt


@dataclass(frozen=True)
class Problem:
    """One problem: what a model is asked, and what its grader needs.

    Attributes:
        id: unique within its task, and the same in each run of it; samples and comparisons name problems by it.
        prompt: a text, or a list of messages, as the model's own chat template renders it.
        reference: what the task's grader needs, as JSON data: an answer, a letter, tests.

    Example:
        >>> Problem("0", "What is 2 + 2?", "4").reference
        '4'
    """

    id: str
    prompt: Prompt
    reference: Any
