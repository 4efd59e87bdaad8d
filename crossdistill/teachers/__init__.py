"""Where the teacher's log-probabilities come from."""

from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore
from crossdistill.teachers.local import LocalTeacher
from crossdistill.teachers.served import ServedOptions, ServedTeacher

__all__ = ["LocalTeacher", "ServedOptions", "ServedTeacher", "Teacher", "TeacherRequest", "TeacherScore"]
