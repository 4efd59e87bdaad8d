"""A teacher behind a server that returns the log-probabilities of a prompt.

``teacher.py`` is the teacher; ``probe.py`` finds out what its server can do, ``scorer.py`` has it score requests,
``health.py`` checks that the same model answers and ``cache.py`` keeps scores. ``api/`` has the dialects of servers,
``http/`` the connection.
"""

from typing import TYPE_CHECKING, Any

from crossdistill.extras import require
from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.teachers.served.cache import ScoreCache
    from crossdistill.teachers.served.capabilities import Capabilities
    from crossdistill.teachers.served.http.traffic import Traffic
    from crossdistill.teachers.served.options import ServedOptions, served_options
    from crossdistill.teachers.served.teacher import ServedTeacher

__all__ = ["Capabilities", "ScoreCache", "ServedOptions", "ServedTeacher", "Traffic", "served_options"]

_load = names_of(
    __name__,
    {
        "Capabilities": "capabilities",
        "ScoreCache": "cache",
        "ServedOptions": "options",
        "ServedTeacher": "teacher",
        "Traffic": "http.traffic",
        "served_options": "options",
    },
)


def __getattr__(name: str) -> Any:
    if name in __all__:
        require("served", user="a teacher behind a server")
    return _load(name)
