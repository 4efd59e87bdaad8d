"""A sampled response in both models' tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.align import Alignment
from crossdistill.chat import Response
from crossdistill.paired import Reading
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class AlignedResponse:
    """A response in both models' tokens.

    reading: of its text. student_ends: int64, of the alignment's student tokens in the bytes of the text.
    """

    response: Response
    reading: Reading
    student_ends: np.ndarray

    @classmethod
    def of_batch(cls, responses: Sequence[Response], student: ByteVocab, teacher: ByteVocab) -> list["AlignedResponse"]:
        """Encode the bytes of each response for the teacher and align."""
        readings = Reading.of_batch(student, [response.text_ids for response in responses], teacher)
        return [
            cls(response, reading, student.ends(response.text_ids)[reading.student_positions])
            for response, reading in zip(responses, readings, strict=True)
        ]

    @property
    def encoding(self) -> Encoding:
        return self.reading.encoding

    @property
    def alignment(self) -> Alignment:
        return self.reading.alignment

    @property
    def student_positions(self) -> np.ndarray:
        """Where the alignment's student tokens stand in ``response.ids``, int64."""
        return self.response.text_positions[self.reading.student_positions]

    @property
    def teacher_positions(self) -> np.ndarray:
        """Where its teacher tokens stand in ``encoding.ids``, int64."""
        return self.reading.teacher_positions
