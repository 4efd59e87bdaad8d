"""Alignment views of texts and token ids, without a model: as a run would align them, but without scores."""

from collections.abc import Callable, Collection, Iterable

import numpy as np

from crossdistill.align import DropReason
from crossdistill.chat import split_response
from crossdistill.errors import InputError
from crossdistill.paired import PairedTokenization
from crossdistill.report.alignment.view import DroppedToken, SampleView, TokenView, sample_view
from crossdistill.report.format import display
from crossdistill.tokens import ByteVocab


def text_view(text: bytes, student: ByteVocab, teacher: ByteVocab, *, prompt: str = "", note: str = "") -> SampleView:
    """The view of a text as if the student had written it in its own tokenisation.

    Args:
        text: its bytes.
        student: the student's vocabulary.
        teacher: the teacher's vocabulary.
        prompt: plain text shown with it.
        note: plain text shown with it. If the student cannot encode some bytes, their number is appended.
    """
    encoded = student.encode(text)
    ids = encoded.ids[student.lengths[encoded.ids] > 0]  # without unknown tokens, which a student cannot write
    missing = int(np.diff(encoded.unencodable_spans).sum())
    left_out = f"left out: {missing} bytes that no token of the student can encode" if missing else ""
    return ids_view(ids, student, teacher, prompt=prompt, note="; ".join(filter(None, (note, left_out))))


def ids_view(
    ids: Iterable[int],
    student: ByteVocab,
    teacher: ByteVocab,
    *,
    stop_ids: Collection[int] = (),
    name: Callable[[int], str] = "<id {}>".format,
    prompt: str = "",
    note: str = "",
) -> SampleView:
    """The view of token ids that a student sampled, without tokenising them again.

    Args:
        ids: the sampled ids. A stop token at the end is shown as a stop pair; other tokens without bytes, and those
            on bytes that the teacher cannot encode, as dropped.
        student: the student's vocabulary.
        teacher: the teacher's vocabulary.
        stop_ids: the student's stop tokens.
        name: name of a token without bytes.
        prompt: plain text shown with the response.
        note: plain text shown with the response.

    Raises:
        InputError: an id that the student does not have.
    """
    sampled = list(ids)
    foreign = next((token_id for token_id in sampled if not 0 <= token_id < len(student)), None)
    if foreign is not None:
        raise InputError(
            f"token id {foreign} is not one of the student's {len(student):,} ids: give ids that this student sampled."
        )
    response = split_response(sampled, student, stop_ids)
    paired = PairedTokenization.of(student, response.text_ids, teacher)
    aligned = response.text_positions[paired.student_positions]
    in_view = aligned if response.stop_position is None else np.append(aligned, response.stop_position)
    has_bytes = student.lengths[response.ids] > 0
    left_out = np.setdiff1d(np.arange(len(response.ids)), in_view)
    dropped = [
        DroppedToken(
            before=int(np.searchsorted(aligned, position)),
            text=display(student.pieces[token_id]) if has_bytes[position] else name(token_id),
            reason=DropReason.UNENCODABLE if has_bytes[position] else DropReason.SPECIAL_TOKEN,
        )
        for position, token_id in zip(left_out.tolist(), response.ids[left_out].tolist(), strict=True)
    ]
    stop = None
    if response.stop_position is not None:
        stop = TokenView(name(int(response.ids[response.stop_position]))), TokenView("end of turn")
    return sample_view(
        response.ids[aligned],
        student,
        paired.encoding.ids[paired.teacher_positions],
        teacher,
        paired.alignment,
        prompt=prompt,
        note=note,
        stop=stop,
        dropped=dropped,
    )
