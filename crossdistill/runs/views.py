"""Scored responses as the report shows them."""

import numpy as np

from crossdistill.align import DropReason
from crossdistill.report.view import DroppedToken, SampleView, TokenView, sample_view
from crossdistill.train.rollout import ScoredResponse
from crossdistill.train.trainer import CrossTokenizerTrainer


def response_view(trainer: CrossTokenizerTrainer, scored: ScoredResponse, prompt: object) -> SampleView:
    """The alignment of one response with log-probabilities and advantages."""
    response, text = scored.response, scored.response.text_positions
    return sample_view(
        response.text_ids,
        trainer.student_vocab,
        scored.encoding.ids,
        trainer.teacher.vocab,
        scored.alignment,
        prompt=_plain(prompt),
        student_logprobs=scored.student_logprobs[text],
        teacher_logprobs=None if scored.teacher is None else scored.teacher.logprobs,
        advantages=None if scored.teacher is None else scored.advantages[text],
        stop=_stop(trainer, scored),
        dropped=list(_dropped(trainer, scored)),
    )


def _stop(trainer: CrossTokenizerTrainer, scored: ScoredResponse) -> tuple[TokenView, TokenView] | None:
    position = scored.response.stop_position
    if position is None or scored.teacher is None or scored.teacher.stop_logprob is None:
        return None
    student = TokenView(_name(trainer, scored.response.ids[position]), float(scored.student_logprobs[position]), float(scored.advantages[position]))
    return student, TokenView("end of turn", scored.teacher.stop_logprob)


def _dropped(trainer: CrossTokenizerTrainer, scored: ScoredResponse) -> list[DroppedToken]:
    """The special tokens that the student sampled in the middle of its response."""
    response = scored.response
    stop = [] if response.stop_position is None else [response.stop_position]
    special = np.setdiff1d(np.arange(len(response.ids)), [*response.text_positions, *stop])
    return [
        DroppedToken(
            before=int(np.searchsorted(response.text_positions, position)),
            text=_name(trainer, response.ids[position]),
            reason=DropReason.SPECIAL_TOKEN,
        )
        for position in special.tolist()
    ]


def _name(trainer: CrossTokenizerTrainer, token_id: int) -> str:
    """Of a control token, or of an id by which the model's vocabulary is padded beyond its tokenizer."""
    return trainer.processing_class.convert_ids_to_tokens(int(token_id)) or f"<id {token_id}>"


def _plain(prompt: object) -> str:
    if isinstance(prompt, list):
        return "\n".join(f"{message['role']}: {message['content']}" for message in prompt)
    return str(prompt)
