"""Teachers behind servers, from the settings of a run."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from crossdistill.chat.determinism import make_deterministic
from crossdistill.chat.ids import refuse_ids
from crossdistill.chat.renderer import PromptRenderer
from crossdistill.distill.checks import scoring_temperature
from crossdistill.errors import InputError
from crossdistill.extras import require
from crossdistill.findings import FindingLog
from crossdistill.inspection.choice import AUTO
from crossdistill.inspection.model_files import declared_stops, num_ids, read_tokenizer
from crossdistill.inspection.model_name import is_url
from crossdistill.train.config import CrossTokenizerConfig
from crossdistill.train.preflight.models import hub_options

if TYPE_CHECKING:
    from crossdistill.teachers.served import ServedOptions, ServedTeacher


def check_served(teachers: Mapping[str, Any], args: CrossTokenizerConfig) -> None:
    """Check that settings of servers come with a teacher that is named by a URL.

    Raises:
        InputError: there is none.
    """
    if any(map(is_url, teachers.values())):
        return
    for name in ("teacher_server", "teacher_cache"):
        if getattr(args, name):
            raise InputError(
                f"{name} applies to a teacher behind a server, and no teacher is named by a URL: leave it out."
            )


def served_teacher(
    url: str,
    label: str,
    tokenizer: Any,
    args: CrossTokenizerConfig,
    options: Mapping[str, Any],
    log: FindingLog | None = None,
) -> "ServedTeacher":
    """Probe a server and make a teacher of it.

    Args:
        url: of the server.
        label: what messages call the teacher.
        tokenizer: the teacher's, or a folder or hub id that holds it.
        args: the trainer's configuration.
        options: fields of :class:`crossdistill.teachers.ServedOptions`.
        log: receives what is found about the tokenizer.

    Raises:
        InputError: settings that cannot work, no tokenizer, a server that cannot teach, or a missing extra ``served``.
    """
    require("served", user="a teacher behind a server")
    from crossdistill.teachers.served import ScoreCache, ServedTeacher, served_options

    stops: list[int] = []
    if isinstance(tokenizer, str | Path):
        hub = hub_options(args, "teacher")
        name, size = str(tokenizer), _num_ids(str(tokenizer), hub)
        stops = declared_stops(name, size, hub["revision"])
        tokenizer = read_tokenizer(name, **hub)
        refuse_ids(PromptRenderer(tokenizer, {}, []), size, label, stops)
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InputError(
            f"the {label} at {url} needs its tokenizer on this machine: name its folder or hub id (teacher_tokenizer "
            "in a run file, teacher_processing_class in Python)."
        )
    (log or FindingLog()).add_all(make_deterministic(tokenizer, label))
    cache = None if args.teacher_cache is None else ScoreCache(Path(args.teacher_cache), args.teacher_cache_mib)
    parsed = served_options(options)
    _check_waits(parsed, args)
    return ServedTeacher(url, tokenizer, parsed, args.text_tokens or (), _temperature(args), cache, stops)


def _num_ids(name: str, hub: Mapping[str, Any]) -> int | None:
    """The embeddings of the model whose tokenizer it is; None if only the tokenizer is here."""
    try:
        return num_ids(name, **hub)
    except InputError:
        return None


def _temperature(args: CrossTokenizerConfig) -> float:
    """The temperature at which the objective compares; that of the sampling if it is chosen later."""
    return args.temperature if args.objective == AUTO else scoring_temperature(args.make_objective(), args.temperature)


def _check_waits(options: "ServedOptions", args: CrossTokenizerConfig) -> None:
    """While a process waits for its teacher, the others wait for that process."""
    needed = options.patience_s + options.timeout_s
    if args.world_size > 1 and args.ddp_timeout <= needed:
        raise InputError(
            f"ddp_timeout = {args.ddp_timeout} ends the other processes while one still waits for its teacher's server "
            f"(patience_s + timeout_s = {needed:g} s): raise ddp_timeout, or lower patience_s."
        )
