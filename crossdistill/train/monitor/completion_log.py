"""Prompts and completions as text, for TRL's completion logs."""

from collections.abc import Mapping
from typing import Any

from accelerate.utils import gather_object

from crossdistill.tokens import ByteVocab
from crossdistill.train.monitor.base import Monitor, Observation


class CompletionLog(Monitor):
    """Appends every rollout, tool results included, to the trainer's logs.

    Args:
        vocab: the student's.
        logs: "prompt" and "completion" -> something to extend.
    """

    def __init__(self, vocab: ByteVocab, logs: Mapping[str, Any]):
        self._vocab = vocab
        self._logs = logs

    def see(self, seen: Observation) -> None:
        decoded = [self._vocab.decode(ids) for ids in seen.rollout.completion_ids]
        texts = [data.decode("utf-8", errors="backslashreplace") for data in decoded]
        self._logs["prompt"].extend(gather_object([str(prompt) for prompt in seen.rollout.prompts]))
        self._logs["completion"].extend(gather_object(texts))
