"""Where the teacher's log-probabilities come from."""

from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.local import LocalTeacher

__all__ = ["LocalTeacher", "Teacher", "TeacherRequest", "TeacherScore"]
