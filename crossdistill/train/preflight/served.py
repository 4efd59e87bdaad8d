"""Teachers behind a server, from the settings of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from transformers import PreTrainedTokenizerBase

from crossdistill.errors import InputError
from crossdistill.inspection.choice import AUTO
from crossdistill.inspection.model_files import declared_stops, is_url, read_tokenizer
from crossdistill.teachers import Teacher
from crossdistill.teachers.served import ScoreCache, ServedOptions, ServedTeacher
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.models import hub_options


def check_served(teachers: Mapping[str, Any], args: CrossTokenizerConfig) -> None:
    """Raises InputError for settings of servers where there is none."""
    if any(map(is_url, teachers.values())):
        return
    for name in ("teacher_server", "teacher_cache"):
        if getattr(args, name):
            raise InputError(f"{name} is about teachers behind a server, and none is named by a URL: leave it out.")


def served_teacher(
    url: str, label: str, tokenizer: Any, args: CrossTokenizerConfig, options: Mapping[str, Any]
) -> ServedTeacher:
    """A teacher whose server has been probed.

    Args:
        label: what it is called. tokenizer: its tokenizer, or a folder or hub id that holds it. options: fields of
            ServedOptions.

    Raises InputError where the server does not serve as a teacher.
    """
    stops: list[int] = []
    if isinstance(tokenizer, str | Path):
        hub = hub_options(args, "teacher")
        stops = declared_stops(str(tokenizer), revision=hub["revision"])
        tokenizer = read_tokenizer(str(tokenizer), **hub)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InputError(
            f"the {label} at {url} needs its tokenizer on this side: name its folder or hub id (teacher_tokenizer in a "
            "run file, teacher_processing_class in Python)."
        )
    cache = None if args.teacher_cache is None else ScoreCache(Path(args.teacher_cache), args.teacher_cache_mib)
    reads_sampling = args.objective == AUTO or args.make_objective().at_sampling_temperature
    temperature = args.temperature if reads_sampling else 1.0
    asked = served_options(options)
    _check_waits(asked, args)
    return ServedTeacher(url, tokenizer, asked, args.text_tokens or (), temperature, cache, stops)


def _check_waits(options: ServedOptions, args: CrossTokenizerConfig) -> None:
    """While a process waits for its teacher, the others wait for that process."""
    needed = options.patience_s + options.timeout_s
    if args.world_size > 1 and args.ddp_timeout <= needed:
        raise InputError(
            f"ddp_timeout = {args.ddp_timeout} ends the other processes while one still waits for its teacher's server "
            f"(patience_s + timeout_s = {needed:g} s): raise ddp_timeout, or lower patience_s."
        )


class TrafficMeter:
    """What passed between a run and its teachers' servers, since the last time it was asked."""

    def __init__(self, teachers: Mapping[str, Teacher]):
        self._traffic = {name: one.traffic for name, one in teachers.items() if isinstance(one, ServedTeacher)}
        self._before = {name: one.as_dict() for name, one in self._traffic.items()}

    def take(self) -> dict[str, float]:
        """``server/*`` of a single teacher, ``server/NAME/*`` of each of several; of this process."""
        figures = {}
        for name, traffic in self._traffic.items():
            now, before = traffic.as_dict(), self._before[name]
            prefix = "server" if len(self._traffic) == 1 else f"server/{name}"
            figures.update({f"{prefix}/{key}": value - before[key] for key, value in now.items()})
            self._before[name] = now
        return figures


def served_options(values: Mapping[str, Any]) -> ServedOptions:
    """Raises InputError for a field that is unknown or has no such value."""
    try:
        return ServedOptions(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(ServedOptions.model_fields)
        raise InputError(f"teacher_server {key!r}: {first['msg'].lower()}; its fields are {known}.") from None
