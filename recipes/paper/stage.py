"""A command of a cell."""

from dataclasses import dataclass
from pathlib import Path

from crossdistill.runs.evaluated import EVALUATION_FILE
from crossdistill.runs.run_file import read_record


@dataclass(frozen=True)
class Stage:
    """A command of a cell.

    Attributes:
        argv: the command.
        folder: that it writes.
        file: in that folder, the last that it writes.
        num_tasks: of an evaluation, which writes this file after each.
        resumes: whether it goes on with ``--resume`` if it was stopped; verl goes on by itself.
        serves: a model to serve meanwhile; None if there is none.
    """

    argv: tuple[str, ...]
    folder: Path
    file: str
    num_tasks: int = 0
    resumes: bool = True
    serves: str | None = None

    @property
    def is_done(self) -> bool:
        path = self.folder / self.file
        if not path.exists():
            return False
        return self.file != EVALUATION_FILE or len(read_record(path)["tasks"]) >= self.num_tasks

    @property
    def command(self) -> tuple[str, ...]:
        """The command that fills the folder, or goes on filling it."""
        goes_on = self.resumes and (self.folder / "config.json").exists()
        return (*self.argv, "--resume") if goes_on else self.argv
