"""By what the teachers behind servers are known again when a run goes on."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from crossdistill.errors import InputError
from crossdistill.teachers import Teacher
from crossdistill.teachers.served import ServedTeacher
from crossdistill.teachers.served.probe import Capability
from crossdistill.teachers.served.fingerprint import TOLERANCE_NATS, difference_nats

FILE_NAME = "served_teachers.json"


def save_references(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Write what each served teacher made of its reference text: ids and nats, as the run found them at its start."""
    found = {name: teacher.capability for name, teacher in teachers.items() if isinstance(teacher, ServedTeacher)}
    if found:
        entries = {name: {"ids": one.reference_ids, "logprobs": one.reference.tolist()} for name, one in found.items()}
        checkpoint.mkdir(parents=True, exist_ok=True)
        (checkpoint / FILE_NAME).write_text(json.dumps(entries))


def check_references(teachers: Mapping[str, Teacher], checkpoint: Path) -> None:
    """Raises InputError for a server whose model is not the one that taught up to this checkpoint."""
    path = checkpoint / FILE_NAME
    entries = json.loads(path.read_text()) if path.exists() else {}
    for name, teacher in teachers.items():
        if name in entries and isinstance(teacher, ServedTeacher):
            difference = _difference(teacher.capability, **entries[name])
            if difference is not None:
                raise InputError(
                    f"the teacher {name!r} is another model than the one that taught the run up to {checkpoint.name}: "
                    f"{difference}. Serve the first one again, or begin a new run in another folder."
                )


def _difference(found: Capability, ids: list[int], logprobs: list[float]) -> str | None:
    """In words. A server with a shorter context is told by the beginning of the same text."""
    if any(one != other for one, other in zip(found.reference_ids, ids, strict=False)):
        return "its tokenizer reads a known text otherwise"
    nats = difference_nats(np.array(logprobs, dtype=np.float32), found.reference)
    return None if nats <= TOLERANCE_NATS else f"its log-probabilities of a known text differ by {nats:.2g} nats"
