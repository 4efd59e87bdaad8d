"""A sampled response in both models' tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crossdistill.align import Alignment
from crossdistill.chat import Response
from crossdistill.paired import PairedTokenization
from crossdistill.tokens import ByteVocab, Encoding


@dataclass(frozen=True)
class AlignedResponse:
    """A response in both models' tokens.

    Attributes:
        response: what was sampled.
        paired: its text in both models' tokens.
        student_ends: int64, where each of the alignment's student tokens ends in the bytes of the text.
    """

    response: Response
    paired: PairedTokenization
    student_ends: np.ndarray

    @classmethod
    def of_batch(cls, responses: Sequence[Response], student: ByteVocab, teacher: ByteVocab) -> list["AlignedResponse"]:
        """Encode the bytes of each response for the teacher, and align."""
        paired = PairedTokenization.of_batch(student, [response.text_ids for response in responses], teacher)
        return [
            cls(response, one, student.ends(response.text_ids)[one.student_positions])
            for response, one in zip(responses, paired, strict=True)
        ]

    @property
    def encoding(self) -> Encoding:
        """The text in the teacher's tokens."""
        return self.paired.encoding

    @property
    def alignment(self) -> Alignment:
        """The chunks that both models can encode."""
        return self.paired.alignment

    @property
    def student_positions(self) -> np.ndarray:
        """Positions of the alignment's student tokens in ``response.ids``, int64."""
        return self.response.text_positions[self.paired.student_positions]

    @property
    def teacher_positions(self) -> np.ndarray:
        """Positions of its teacher tokens in ``encoding.ids``, int64."""
        return self.paired.teacher_positions
