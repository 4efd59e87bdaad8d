"""What is being done now, for whoever shows it: the logger ``crossdistill.phase``.

A phase is logged at level INFO and how far it has come at DEBUG, so that nothing is shown unless someone listens, as
``crossdistill train`` does (:class:`crossdistill.runs.terminal.Terminal`).
"""

import logging

NAME = "crossdistill.phase"
_LOGGER = logging.getLogger(NAME)


def phase(text: str) -> None:
    """Say what is done from now on.

    Example:
        >>> phase("loading the student org/model")  # silent unless someone listens
    """
    _LOGGER.info("%s", text)


def detail(text: str) -> None:
    """Say how far the phase has come.

    Example:
        >>> detail("34 of 64 prompts")
    """
    _LOGGER.debug("%s", text)
