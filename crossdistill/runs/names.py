"""Names of runs for tables: the parts of their folders' paths that tell them apart."""

from collections.abc import Sequence
from pathlib import Path

from crossdistill.errors import InputError


def short_names(folders: Sequence[Path]) -> list[str]:
    """One name for each folder: its own, or if these are not unique, its path without what all paths have in common.

    Args:
        folders: that differ.

    Example:
        >>> short_names([Path("runs/dpca/eval"), Path("runs/bpm/eval")])
        ['dpca', 'bpm']
        >>> short_names([Path("runs/dpca"), Path("evaluations/teacher")])
        ['dpca', 'teacher']
        >>> short_names([Path("runs/run"), Path("runs/run/more/run")])
        ['run', 'run/more/run']
    """
    parts = [folder.absolute().parts for folder in folders]
    own = [path[-1] for path in parts]
    if len(set(own)) == len(own):
        return own
    start = _num_shared(parts)
    if start == min(map(len, parts)):  # one lies in another: its own name is all that it has
        return ["/".join(path[start - 1 :]) for path in parts]
    rests = [path[start:] for path in parts]
    end = _num_shared([rest[::-1] for rest in rests])
    # without the end they still differ, but one may have nothing left
    end -= end == min(map(len, rests))
    return ["/".join(rest[: len(rest) - end]) for rest in rests]


def group_name(names: Sequence[str]) -> str:
    """One name for runs of one method: what their names have in common, around a ``*``, or all of them.

    Example:
        >>> group_name(["dpca-0/run", "dpca-1/run"]), group_name(["dpca"]), group_name(["first", "again"])
        ('dpca-*/run', 'dpca', 'first, again')
    """
    if len(names) == 1:
        return names[0]
    start = _num_shared(names)
    rests = [name[start:] for name in names]
    end = _num_shared([rest[::-1] for rest in rests])
    if not start and not end:
        return ", ".join(names)
    return f"{names[0][:start]}*{rests[0][len(rests[0]) - end :]}"


def _num_shared(paths: Sequence[Sequence[str]]) -> int:
    """Number of parts at the beginning that all paths have in common."""
    count = 0
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        count += 1
    return count


def check_once(folders: Sequence[Path]) -> None:
    """Check that no folder is given twice, under the same path or another.

    Raises:
        InputError: one is.
    """
    resolved = [folder.resolve() for folder in folders]
    for index, folder in enumerate(folders):
        if resolved[index] in resolved[:index]:
            raise InputError(f"{folder} is given twice: name each run once.")
