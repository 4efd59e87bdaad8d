"""The alignment views of scored responses, for reports and samples."""

import numpy as np

from crossdistill.align import DropReason
from crossdistill.chat import token_name
from crossdistill.chat.messages import Message, text_of
from crossdistill.distill.response import ScoredResponse
from crossdistill.report.alignment.view import DroppedToken, SampleView, TokenView, sample_view
from crossdistill.train.trainer import CrossTokenizerTrainer


def response_view(trainer: CrossTokenizerTrainer, scored: ScoredResponse, prompt: object) -> SampleView:
    """The view of one response, with log-probabilities and advantages.

    Args:
        trainer: that scored it.
        scored: the response.
        prompt: a text or messages.
    """
    aligned = scored.aligned
    ours, theirs = aligned.student_positions, aligned.teacher_positions
    return sample_view(
        aligned.response.ids[ours],
        trainer.student_vocab,
        aligned.encoding.ids[theirs],
        trainer.teachers[scored.teacher_name].vocab,
        aligned.alignment,
        prompt=_prompt_text(prompt),
        student_logprobs=scored.student_logprobs[ours],
        teacher_logprobs=None if scored.teacher is None else scored.teacher.logprobs[theirs],
        advantages=None if scored.teacher is None else scored.advantages[ours],
        stop=_stop(trainer, scored),
        dropped=_dropped(trainer, scored),
    )


def _stop(trainer: CrossTokenizerTrainer, scored: ScoredResponse) -> tuple[TokenView, TokenView] | None:
    position = scored.response.stop_position
    if position is None or scored.teacher is None or scored.teacher.stop_logprob is None:
        return None
    student = TokenView(
        token_name(trainer.processing_class, scored.response.ids[position]),
        float(scored.student_logprobs[position]),
        float(scored.advantages[position]),
    )
    return student, TokenView("end of turn", scored.teacher.stop_logprob)


def _dropped(trainer: CrossTokenizerTrainer, scored: ScoredResponse) -> list[DroppedToken]:
    """The sampled tokens outside all chunks: special ones, and those on bytes that the teacher cannot encode."""
    response, aligned = scored.response, scored.aligned.student_positions
    shown = [*aligned, *([] if response.stop_position is None else [response.stop_position])]
    positions = np.setdiff1d(np.arange(len(response.ids)), shown)
    is_text = np.isin(positions, response.text_positions)
    return [
        DroppedToken(
            before=int(np.searchsorted(aligned, position)),
            text=token_name(trainer.processing_class, response.ids[position]),
            reason=DropReason.UNENCODABLE if text else DropReason.SPECIAL_TOKEN,
        )
        for position, text in zip(positions.tolist(), is_text.tolist(), strict=True)
    ]


def _prompt_text(prompt: object) -> str:
    if isinstance(prompt, list):
        return "\n".join(f"{message['role']}: {_content(message)}" for message in prompt)
    return str(prompt)


def _content(message: Message) -> str:
    """The text of a message and its tool calls."""
    calls = [call.get("function", call) for call in message.get("tool_calls") or ()]
    return " ".join([text_of(message) or "", *(f"{call['name']}({call['arguments']})" for call in calls)]).strip()
