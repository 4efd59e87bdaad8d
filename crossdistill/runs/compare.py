"""Comparisons: folders of evaluations and training runs in, one comparison a task out."""

from collections.abc import Sequence
from pathlib import Path

from crossdistill.errors import InputError
from crossdistill.eval.comparison.agreement import check_agreement
from crossdistill.eval.comparison.comparison import Comparison, compare
from crossdistill.eval.comparison.contender import Contender
from crossdistill.runs.evaluated import Evaluated, read_evaluated
from crossdistill.runs.names import check_once, group_name, short_names

START = "start"


def compare_folders(
    folders: Sequence[Path],
    baseline: Path | None = None,
    teacher: Path | None = None,
    reach: Sequence[float] = (),
    task: str | None = None,
) -> list[Comparison]:
    """Compare evaluations and training runs.

    Training runs of the same configuration but for the seed form one row; a second run of one seed is its own. The
    student before training is a row of its own if a training run evaluated it.

    Args:
        folders: at least two, or one training run with its start.
        baseline: the folder to hold the others against; by default the student before training if there is one, else
            the first folder.
        teacher: the folder of the teacher's evaluation.
        reach: accuracies, between 0 and 1, whose cost is asked for.
        task: the only task to compare; by default all that the folders have in common.

    Returns:
        One comparison for each task.

    Raises:
        InputError: a folder cannot be read, is given twice or is a copy of another; there is one model alone, or no
            task in common; the problems or settings differ; an accuracy is no share.
    """
    for accuracy in reach:
        if not 0 < accuracy <= 1:
            raise InputError(f"the accuracy {accuracy:g} cannot be reached: give a share above 0 and up to 1.")
    check_once(folders)
    given = {folder.resolve(): folder for folder in folders}
    baseline, teacher = (
        None if named is None else given.setdefault(named.resolve(), named) for named in (baseline, teacher)
    )
    every = list(given.values())
    read = [read_evaluated(folder) for folder in every]
    names = dict(zip(every, short_names(every), strict=True))
    _check_copies(read, names)
    return [_compare_on(name, read, names, baseline, teacher, reach) for name in _tasks(read, names, task)]


def _check_copies(read: Sequence[Evaluated], names: dict[Path, str]) -> None:
    for index, first in enumerate(read):
        for other in read[index + 1 :]:
            if first.outcomes == other.outcomes and first.method == other.method and first.curves == other.curves:
                raise InputError(
                    f"{names[first.folder]} and {names[other.folder]} are copies of one evaluation: name it once."
                )


def _tasks(read: Sequence[Evaluated], names: dict[Path, str], wanted: str | None) -> list[str]:
    for entry in read:
        unfinished = [task for task in entry.unfinished if wanted in (None, task)]
        if unfinished:
            raise InputError(
                f"the evaluation in {entry.folder} is not finished on {', '.join(unfinished)}: continue it with "
                "--resume, or name a finished task with --task."
            )
    shared = [task for task in read[0].outcomes if all(task in other.outcomes for other in read)]
    if wanted is not None:
        shared = [task for task in shared if task == wanted]
    if not shared:
        what = "are on no task in common" if wanted is None else f"are not all on the task {wanted!r}"
        listed = "; ".join(f"{names[entry.folder]} on {', '.join(entry.outcomes)}" for entry in read)
        raise InputError(f"these runs {what} ({listed}): evaluate them on the same.")
    return shared


def _compare_on(
    task: str,
    read: Sequence[Evaluated],
    names: dict[Path, str],
    baseline: Path | None,
    teacher: Path | None,
    reach: Sequence[float],
) -> Comparison:
    evaluations = [(names[entry.folder], entry.outcomes[task]) for entry in read]
    evaluations += [
        (f"the start of {names[entry.folder]}", entry.starts[task]) for entry in read if task in entry.starts
    ]
    check_agreement(evaluations)
    groups = _groups(read)
    starts = _starts(task, read)
    contenders = [*starts, *(_contender(task, group, names) for group in groups)]
    if len(contenders) < 2:
        raise InputError(f"{_alone(read, names)}: name another one to compare with.")
    of_folder = {
        entry.folder: group_name([names[entry.folder] for entry in group]) for group in groups for entry in group
    }
    reference = contenders[0].name if baseline is None else of_folder[baseline]
    return compare(contenders, reference, None if teacher is None else of_folder[teacher], reach)


def _alone(read: Sequence[Evaluated], names: dict[Path, str]) -> str:
    if len(read) == 1:
        return f"{read[0].folder} is one run alone"
    return f"{', '.join(names[entry.folder] for entry in read)} differ in nothing but their seeds, and form one row"


def _groups(read: Sequence[Evaluated]) -> list[list[Evaluated]]:
    """The folders, with the seeds of one method together, by the order of the first of each."""
    groups: list[list[Evaluated]] = []
    for entry in read:
        same = next((group for group in groups if _is_another_seed(entry, group)), None)
        if same is None:
            groups.append([entry])
        else:
            same.append(entry)
    return groups


def _is_another_seed(entry: Evaluated, group: Sequence[Evaluated]) -> bool:
    """Two runs of one seed are no two seeds, even if they came out differently: each is a row."""
    is_same_method = entry.method is not None and group[0].method == entry.method
    return is_same_method and all(entry.seed != other.seed for other in group)


def _starts(task: str, read: Sequence[Evaluated]) -> list[Contender]:
    """The students before training, each once: the seeds and methods that start from one model share it."""
    found = {entry.student: entry.starts[task] for entry in reversed(read) if task in entry.starts}
    students = list(dict.fromkeys(entry.student for entry in read if entry.student in found))
    names = [START] if len(students) == 1 else [f"{START} {student}" for student in students]
    return [
        Contender(name, (found[student],), start=found[student]) for name, student in zip(names, students, strict=True)
    ]


def _contender(task: str, group: Sequence[Evaluated], names: dict[Path, str]) -> Contender:
    return Contender(
        group_name([names[entry.folder] for entry in group]),
        tuple(entry.outcomes[task] for entry in group),
        tuple(entry.curves[task] for entry in group if task in entry.curves),
        group[0].starts.get(task),
    )
