"""The folder of an evaluation: its files, and whether an evaluation may write to it.

config.json         the model, the tasks and their settings; who continues it must have the same ones
samples/TASK.jsonl  one graded sample a line (:class:`crossdistill.eval.sample.Sample`)
eval.json           the scores, written when a task is finished
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from crossdistill.errors import InputError
from crossdistill.report.versions import versions
from crossdistill.runs.folder import RunFolder, differences
from crossdistill.runs.run_file import write_json

KIND = "evaluation"
_LOCK = ".lock"


@dataclass(frozen=True)
class EvaluationFolder:
    """A folder and the paths inside it.

    Attributes:
        path: of the folder; it need not exist.

    Example:
        >>> EvaluationFolder(Path("evals")).samples("gsm8k").as_posix()
        'evals/samples/gsm8k.jsonl'
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def results(self) -> Path:
        return self.path / "eval.json"

    def samples(self, task: str) -> Path:
        """The file of the samples of a task, whose name may be a path."""
        return self.path / "samples" / f"{quote(task, safe=' :')}.jsonl"

    @contextmanager
    def claimed(
        self, model: str, tasks: dict[str, Any], resume: bool = True, loaded: Mapping[str, Any] | None = None
    ) -> Iterator[None]:
        """Hold the folder for one evaluation, once it is known that this one may write here.

        Args:
            model: its name.
            tasks: name -> settings, as JSON data. Those of other tasks that the folder has stay.
            resume: whether it may hold samples already.
            loaded: ``weights``, which tells these from others, and the ``dtype``; what is left out is not compared.

        Raises:
            InputError: see :meth:`check`; or another evaluation uses the folder at this moment.
        """
        from filelock import FileLock, Timeout

        self.check(model, tasks, resume, loaded)  # before anything is written
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / _LOCK, timeout=0):
                known = self.check(model, tasks, resume, loaded)
                config = {**known, "kind": KIND, "model": model, **(loaded or {})}
                write_json(self.config, {**config, "tasks": {**known.get("tasks", {}), **tasks}})
                yield
        except Timeout:
            raise InputError(
                f"another evaluation writes to {self.path} at this moment: wait until it has ended, or name another "
                "folder."
            ) from None

    def finished(self) -> dict[str, Any]:
        """The results of the tasks that are finished, by name."""
        tasks: dict[str, Any] = self._read(self.results).get("tasks", {})
        return tasks

    def write(self, model: str, task: str, entry: dict[str, Any]) -> dict[str, Any]:
        """Add the results of a task to ``eval.json``, and return its content."""
        return self._write(model, {"tasks": {**self.finished(), task: entry}})

    def write_harness(self, model: str, harness: str, tasks: dict[str, Any]) -> dict[str, Any]:
        """Add the results of a harness to ``eval.json``, and return its content.

        Args:
            model: its name.
            harness: its name.
            tasks: of the harness, by name -> what it found. Those of other tasks that the file has stay.
        """
        known: dict[str, Any] = self.read().get("harness", {})
        found = {**known, harness: {**known.get(harness, {}), **tasks}}
        return self._write(model, {"tasks": self.finished(), "harness": found})

    def _write(self, model: str, changed: dict[str, Any]) -> dict[str, Any]:
        found = {
            **self._read(self.results),
            "kind": KIND,
            "model": model,
            "versions": versions(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            **changed,
        }
        write_json(self.results, found)
        return self.read()

    def read(self) -> dict[str, Any]:
        """The content of ``eval.json``; empty if there is none."""
        return self._read(self.results)

    def check(
        self, model: str, tasks: dict[str, Any], resume: bool, loaded: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Check that an evaluation may write here; arguments as for :meth:`claimed`.

        Returns:
            The configuration that the folder has; empty if no sample was written.

        Raises:
            InputError: the folder holds something else, or the same with other settings, or cannot be written.
        """
        RunFolder(self.path).check_usable()
        saved = self._read(self.config)
        if not saved and RunFolder(self.path).holds_other_than(_LOCK):
            raise InputError(f"the output folder {self.path} holds other files: name a new folder.")
        if saved and saved.get("kind") != KIND:
            raise InputError(f"the output folder {self.path} holds another run: name a new folder.")
        if not any((self.path / "samples").glob("*.jsonl")):
            return {}
        if not resume:
            raise InputError(
                f"the output folder {self.path} holds an evaluation: pass --resume to continue it, or name a new one."
            )
        shared = {name: settings for name, settings in saved["tasks"].items() if name in tasks}
        wanted = {name: json.loads(json.dumps(tasks[name])) for name in shared}
        ours = {"model": model, **(loaded or {})}
        theirs = {name: saved.get(name) for name in ours}
        found = [*differences(theirs, ours), *differences(shared, wanted)]  # a task may be called "model"
        if found:
            found = [one for one in found if not _is_hash(one)] or found  # a hash differs with whatever differs
            raise InputError(
                f"the evaluation in {self.path} has other settings: {'; '.join(found)}. Continue it with the same "
                "ones, or name a new folder."
            )
        return saved

    def _read(self, path: Path) -> dict[str, Any]:
        """The content of a file of the folder; empty if there is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except ValueError:
            content = None
        if not isinstance(content, dict):
            raise InputError(f"{path} is damaged: restore it from a backup, or begin in another folder.")
        return content


def _is_hash(difference: str) -> bool:
    return difference.partition(" (was ")[0].rpartition(".")[2] in ("digest", "weights")
