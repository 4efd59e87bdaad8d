from typing import Any

from crossdistill import ByteVocab, align
from crossdistill.report.alignment.view import SampleView, sample_view


def view_of(text: str, student: ByteVocab, teacher: ByteVocab, **options: Any) -> SampleView:
    """The view of `text` as each side's own tokens."""
    student_encoding, teacher_encoding = student.encode(text), teacher.encode(text)
    alignment = align(student_encoding.ends, teacher_encoding.ends)
    return sample_view(student_encoding.ids, student, teacher_encoding.ids, teacher, alignment, **options)
