"""A teacher behind a server that returns the log-probabilities of a prompt.

``teacher.py`` is the teacher; ``probe.py`` finds out what its server can do, ``scorer.py`` has it score requests,
``health.py`` checks that the same model answers and ``cache.py`` keeps scores. ``api/`` has the dialects of servers,
``http/`` the connection.
"""

from crossdistill.teachers.served.cache import ScoreCache
from crossdistill.teachers.served.capabilities import Capabilities
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.teacher import ServedTeacher

__all__ = ["Capabilities", "ScoreCache", "ServedOptions", "ServedTeacher", "Traffic"]
