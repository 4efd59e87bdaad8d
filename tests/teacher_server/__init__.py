"""A teacher behind HTTP on loopback: the wire formats of vLLM and of OpenAI's completions, and scripted faults."""

from tests.teacher_server.faults import Fault
from tests.teacher_server.log import Log, Seen
from tests.teacher_server.scoring import Scorer
from tests.teacher_server.server import TeacherServer
from tests.teacher_server.service import Settings

__all__ = ["Fault", "Log", "Scorer", "Seen", "Settings", "TeacherServer"]
