"""Texts and sampled ids as they would be aligned in a run, without a model: views without scores."""

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
    """A text as if the student had written it in its own tokenisation; bytes that it cannot spell are named."""
    encoded = student.encode(text)
    ids = encoded.ids[student.lengths[encoded.ids] > 0]  # what the student can really write of it
    missing = int(np.diff(encoded.holes).sum())
    left_out = f"left out: {missing} bytes that no token of the student spells" if missing else ""
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
    """Token ids that the student sampled, as they are; a stop token at the end and special ones are told apart.

    name: of a token without bytes, to show it by. Raises InputError for ids that the student does not have.
    """
    sampled = list(ids)
    foreign = next((token_id for token_id in sampled if not 0 <= token_id < len(student)), None)
    if foreign is not None:
        raise InputError(
            f"token id {foreign} is none of the student's {len(student):,} ids: give ids that this student has sampled."
        )
    response = split_response(sampled, student, stop_ids)
    reading = PairedTokenization.of(student, response.text_ids, teacher)
    aligned = response.text_positions[reading.student_positions]
    in_view = aligned if response.stop_position is None else np.append(aligned, response.stop_position)
    has_bytes = student.lengths[response.ids] > 0
    left = np.setdiff1d(np.arange(len(response.ids)), in_view)
    dropped = [
        DroppedToken(
            before=int(np.searchsorted(aligned, position)),
            text=display(student.pieces[token_id]) if has_bytes[position] else name(token_id),
            reason=DropReason.UNENCODABLE if has_bytes[position] else DropReason.SPECIAL_TOKEN,
        )
        for position, token_id in zip(left.tolist(), response.ids[left].tolist(), strict=True)
    ]
    stop = None
    if response.stop_position is not None:
        stop = TokenView(name(int(response.ids[response.stop_position]))), TokenView("end of turn")
    theirs = reading.encoding.ids[reading.teacher_positions]
    return sample_view(
        response.ids[aligned],
        student,
        theirs,
        teacher,
        reading.alignment,
        prompt=prompt,
        note=note,
        stop=stop,
        dropped=dropped,
    )
