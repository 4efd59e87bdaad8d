"""The harnesses by name."""

from crossdistill.errors import InputError
from crossdistill.integrations.harness.base import Harness
from crossdistill.integrations.harness.evalscope import EvalScope
from crossdistill.integrations.harness.lm_eval import LmEval

HARNESSES: dict[str, type[Harness]] = {harness.name: harness for harness in (LmEval, EvalScope)}


def get(name: str) -> Harness:
    """The harness of that name.

    Raises:
        InputError: there is none.
    """
    if name not in HARNESSES:
        raise InputError(f"there is no harness {name!r}: take {' or '.join(HARNESSES)}.")
    return HARNESSES[name]()
