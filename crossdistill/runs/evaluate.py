"""Evaluations: a model, tasks and settings in, graded samples and scores in a folder out."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from crossdistill.eval.findings import response_findings
from crossdistill.eval.generation.base import Generator
from crossdistill.eval.generation.local import BATCH_TOKENS, LocalGenerator
from crossdistill.eval.grading.base import Grader
from crossdistill.eval.sampling import Sampling
from crossdistill.eval.task import Task, TaskOptions
from crossdistill.findings import FindingLog
from crossdistill.flops import ModelFlops
from crossdistill.inspection.model_name import is_url
from crossdistill.ops.mode import in_mode
from crossdistill.runs.evaluated_model import ModelOptions, local_model
from crossdistill.runs.evaluation_folder import EvaluationFolder
from crossdistill.runs.evaluation_progress import EvaluationProgress
from crossdistill.runs.planned_task import Found, PlannedTask, write_samples
from crossdistill.teachers.served.options import ServedOptions

_UNKNOWN = {"weights": None, "dtype": None}


def evaluate(
    model: str,
    tasks: Sequence[PlannedTask],
    output: Path,
    *,
    model_options: ModelOptions | None = None,
    server: ServedOptions | None = None,
    resume: bool = False,
    is_quiet: bool = False,
) -> dict[str, Any]:
    """Evaluate a model on tasks, and write ``samples/TASK.jsonl`` and ``eval.json``.

    Graders are checked first, then the model's files, and weights are read last, only if samples are missing.

    Args:
        model: a folder, the folder of a PEFT adapter, a hub id, or the URL of an OpenAI-compatible server.
        tasks: to evaluate it on, each once.
        output: folder to write; new or empty, unless resumed.
        model_options: how a model that is no server's is loaded and run.
        server: settings of a server.
        resume: whether to continue the evaluation in `output`.
        is_quiet: whether to show no progress.

    Returns:
        The content of ``eval.json``.

    Raises:
        InputError: bad input; found before weights are read if that is possible.
        ServerError: a server failed for good. What it answered before is graded and in the folder.
    """
    log = FindingLog()
    with ExitStack() as stack:
        evaluation = _Evaluation(EvaluationFolder(output), tasks, log, is_quiet)
        if is_url(model):
            from crossdistill.eval.generation.served import ServedGenerator

            generator = stack.enter_context(ServedGenerator(model, server or ServedOptions()))
            stack.enter_context(evaluation.prepared(generator.model, resume))
            return evaluation.run(lambda: (generator, None))
        local = local_model(model, model_options or ModelOptions())
        for planned in tasks:
            local.check(planned, log)
        local.check_weights()
        stack.enter_context(evaluation.prepared(model, resume, local.loaded))

        def load() -> tuple[Generator, ModelFlops]:
            loaded = local.load()
            return LocalGenerator(loaded, local.tokenizer, local.options.batch_tokens), ModelFlops.of(loaded)

        return evaluation.run(load)


def evaluate_model(
    model: Any,
    tokenizer: Any,
    task: Task,
    options: TaskOptions,
    sampling: Sampling,
    folder: Path,
    *,
    name: str = "",
    batch_tokens: int = BATCH_TOKENS,
    is_quiet: bool = False,
    log: FindingLog | None = None,
) -> dict[str, Any]:
    """Evaluate a model that is loaded on one task, and write ``samples/TASK.jsonl`` and ``eval.json``.

    The mode (training or evaluation) of each of the model's modules is as before afterwards, and no shared random
    number generator is used. An evaluation that was interrupted is continued if the folder holds its samples; results
    of other tasks in the folder stay.

    Args:
        model: a Hugging Face causal language model, perhaps with adapters, on its device.
        tokenizer: the model's; it gets the plain chat template if it has none.
        task: to evaluate it on.
        options: which of its problems, and how they are graded.
        sampling: how responses are sampled; of the task's own if it is to be ``task.sampling``.
        folder: to write; new, or of the same evaluation.
        name: of the model, in ``eval.json``.
        batch_tokens: most tokens of prompts and responses in a batch, counted at their full length.
        is_quiet: whether to show no progress.
        log: receives what is found about the responses.

    Returns:
        The content of ``eval.json``; ``["tasks"][task.name]["metrics"]["avg@k"]`` has ``mean``, ``ci`` and ``n``.

    Raises:
        InputError: bad input, or the folder holds another evaluation.
    """
    evaluation = _Evaluation(
        EvaluationFolder(folder), [PlannedTask.of(task, options, sampling)], log or FindingLog(), is_quiet
    )
    with evaluation.prepared(name, resume=True), in_mode(model, training=False):
        generator = LocalGenerator(model, tokenizer, batch_tokens)
        return evaluation.run(lambda: (generator, ModelFlops.of(model)))


class _Evaluation:
    """One evaluation of one model in one folder."""

    def __init__(self, folder: EvaluationFolder, tasks: Sequence[PlannedTask], log: FindingLog, is_quiet: bool):
        self._folder = folder
        self._tasks = tasks
        self._log = log
        self._is_quiet = is_quiet
        self._graders: dict[str, Grader] = {}
        self._model = ""

    @contextmanager
    def prepared(self, model: str, resume: bool, loaded: Mapping[str, Any] = _UNKNOWN) -> Iterator[None]:
        """The folder, held for this evaluation of a model, and graders that have been checked."""
        self._model = model
        settings = {planned.task.name: planned.settings for planned in self._tasks}
        self._folder.check(model, settings, resume, loaded)
        with ExitStack() as stack:
            for planned in self._tasks:
                grader = stack.enter_context(planned.task.grader(planned.options))
                grader.check(planned.problems)
                self._graders[planned.task.name] = grader
            stack.enter_context(self._folder.claimed(model, settings, resume, loaded))
            yield

    def run(self, load: Callable[[], tuple[Generator, ModelFlops | None]]) -> dict[str, Any]:
        """Write what is missing, and the results of each task as soon as it is finished.

        Args:
            load: returns what writes responses, and what it costs, None behind a server; called if samples are missing.
        """
        found = {planned.task.name: self._file(planned).read() for planned in self._tasks}
        loaded: tuple[Generator, ModelFlops | None] | None = None
        for planned in self._tasks:
            name, entry = planned.task.name, self._folder.finished().get(planned.task.name)
            if entry is not None and not self._file(planned).missing(found[name]):
                continue
            loaded = loaded or load()
            seconds = self._write(planned, loaded[0], found[name])
            results = planned.results(found[name])
            self._folder.write(
                self._model, name, {**results, "seconds": seconds, "flops": _flops(loaded[1], found[name])}
            )
            self._log.add_all(response_findings(name, found[name].values(), planned.sampling.max_tokens))
        return self._folder.read()

    def _write(self, planned: PlannedTask, generator: Generator, found: Found) -> float:
        """Write the missing samples of a task into `found` and its file, and return the seconds that it took."""
        file, name, began = self._file(planned), planned.task.name, time.monotonic()
        wanted, total = file.missing(found), len(planned.problems) * planned.sampling.k
        samples = write_samples(file.path, generator, self._graders[name], wanted, planned.sampling)
        with EvaluationProgress(name, total, len(found), self._is_quiet) as progress:
            for sample in samples:
                found[sample.problem, sample.index] = sample
                progress.take(sample)
        return time.monotonic() - began

    def _file(self, planned: PlannedTask) -> Any:
        return planned.file(self._folder.samples(planned.task.name))


def _flops(model: ModelFlops | None, found: Found) -> int | None:
    """FLOPs of the responses and of the prompts, each of which is read once; None behind a server."""
    if model is None:
        return None
    whole = [(sample.prompt_tokens or 0) + sample.tokens for sample in found.values()]
    read_before = [sample.prompt_tokens or 0 for sample in found.values() if sample.index > 0]
    return model.forward(whole) - model.forward(read_before)
