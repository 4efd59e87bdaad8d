"""The checks of a row against both models: of some rows before a run, of a stream's rows as they come."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.routing import Routing
from crossdistill.train.off_policy import check_completion
from crossdistill.train.preflight.data import check_conversations, check_row


@dataclass(frozen=True)
class Reader:
    """A model that reads prompts.

    Attributes:
        label: what messages call it.
        renderer: of its prompts.
        context: tokens of prompt and response together; None if there is no limit.
    """

    label: str
    renderer: PromptRenderer
    context: int | None


@dataclass(frozen=True)
class RowCheck:
    """What a row must be.

    Attributes:
        student: reads all prompts.
        teachers: by name; each reads the prompts that it is asked about.
        routing: which of them scores what.
        budget: tokens of a response.
    """

    student: Reader
    teachers: Mapping[str, Reader]
    routing: Routing
    budget: int

    def check(self, number: int, row: Any, needs_completion: bool = False) -> None:
        """Check all of a row.

        Args:
            number: of the row.
            row: of a data set.
            needs_completion: whether it must hold a response.

        Raises:
            InputError: a row that cannot be used.
        """
        check_row(number, row)
        if needs_completion:
            check_completion(number, row.get("completion"))
        self.routing.of(row)
        self.check_conversations([(number, row)])

    def check_conversations(self, rows: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Check that the student can render every prompt, and each teacher those that it is asked about.

        Args:
            rows: with their numbers.

        Raises:
            InputError: a prompt that does not fit, that a template refuses, or that is a text while tools are called.
        """
        rows = list(rows)
        check_conversations(self.student.label, self.student.renderer, self.student.context, rows, self.budget)
        for name, one in self.teachers.items():
            own = [(number, row) for number, row in rows if name in self.routing.of(row)]
            check_conversations(one.label, one.renderer, one.context, own, self.budget)
