"""Whether an objective and a teacher go together, known before anything is sampled."""

from crossdistill.errors import InputError
from crossdistill.objectives.base import Objective
from crossdistill.signal import Signal
from crossdistill.teachers.base import Teacher


def scoring_temperature(objective: Objective, temperature: float) -> float:
    """Temperature of the log-probabilities that an objective compares; `temperature` is that of the sampling."""
    return temperature if objective.at_sampling_temperature else 1.0


def check_temperature(objective: Objective, teacher: Teacher, temperature: float) -> None:
    """Raises InputError if the teacher's log-probabilities have another temperature than the objective compares at."""
    wanted = scoring_temperature(objective, temperature)
    if teacher.temperature == wanted:
        return
    kind = "the sampling temperature" if objective.at_sampling_temperature else "temperature"
    raise InputError(
        f"objective {objective.name!r} compares both models at {kind} {wanted:g}, and this teacher gives "
        f"log-probabilities at temperature {teacher.temperature:g}: call its set_temperature({wanted:g}) before, if it "
        f"can, or sample at temperature = {teacher.temperature:g}."
    )


def check_signal(objective: Objective, teacher: Teacher) -> None:
    """Raises InputError if the teacher cannot give what the objective needs."""
    if not teacher.signal.covers(objective.signal):
        raise InputError(
            f"objective {objective.name!r} needs {objective.signal.value} probabilities and this teacher gives only "
            f"{teacher.signal.value} ones: choose an objective for {teacher.signal.value} signals, or a local teacher."
        )
    if objective.signal is Signal.TOPK and teacher.max_top_k is not None and objective.top_k > teacher.max_top_k:
        raise InputError(
            f"objective {objective.name!r} needs the {objective.top_k} most probable tokens and this teacher gives at "
            f"most {teacher.max_top_k}: lower the objective's top_k, or raise the limit of the teacher's server."
        )
