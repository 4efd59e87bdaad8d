"""Teachers: models that score the student's responses, in this process or behind a server."""

from typing import TYPE_CHECKING

from crossdistill.lazy import names_of

if TYPE_CHECKING:
    from crossdistill.teachers.base import Teacher, TeacherRequest, TeacherScore, WrittenResponse, check_teacher
    from crossdistill.teachers.local import LocalTeacher
    from crossdistill.teachers.served.options import ServedOptions
    from crossdistill.teachers.served.teacher import ServedTeacher

__all__ = [
    "LocalTeacher",
    "ServedOptions",
    "ServedTeacher",
    "Teacher",
    "TeacherRequest",
    "TeacherScore",
    "WrittenResponse",
    "check_teacher",
]

__getattr__ = names_of(
    __name__,
    {
        "LocalTeacher": "local",
        "ServedOptions": "served.options",
        "ServedTeacher": "served",
        "Teacher": "base",
        "TeacherRequest": "base",
        "TeacherScore": "base",
        "WrittenResponse": "base",
        "check_teacher": "base",
    },
)
