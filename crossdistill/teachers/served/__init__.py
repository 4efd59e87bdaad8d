"""A teacher behind a server: any that returns the log-probabilities of a prompt."""

from crossdistill.teachers.served.cache import ScoreCache
from crossdistill.teachers.served.http.traffic import Traffic
from crossdistill.teachers.served.options import ServedOptions
from crossdistill.teachers.served.probe import Capabilities
from crossdistill.teachers.served.teacher import ServedTeacher

__all__ = ["Capabilities", "ScoreCache", "ServedOptions", "ServedTeacher", "Traffic"]
