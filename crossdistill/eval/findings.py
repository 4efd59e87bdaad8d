"""What is found about the responses of an evaluation that a reader of its scores should know."""

from collections.abc import Iterable, Iterator

from crossdistill.eval.sample import Sample
from crossdistill.findings import Finding, Kind, Severity, When

NEVER_STOPS = Kind(
    "responses_cut",
    Severity.WARNING,
    When.DURING,
    "{cut} of {total} responses to {task} were cut at their limit of {limit} tokens before they had ended: raise "
    "max_tokens, or see in their texts whether the model ever ends a response.",
    "an answer that was cut off counts as wrong, so the score says less of the model than of the limit",
)
EMPTY = Kind(
    "empty_responses",
    Severity.WARNING,
    When.DURING,
    "{empty} of {total} responses to {task} are empty: look at the chat template and its keyword arguments, and behind "
    "a server at what it takes out of a response.",
    "a model that was asked in the wrong way seems to be a bad one",
)
SHORT_CONTEXT = Kind(
    "context_shorter_than_responses",
    Severity.WARNING,
    When.BEFORE_WEIGHTS,
    "the model's context of {context} tokens does not hold the longest prompt of {task} ({prompt} tokens) and a "
    "response of {limit}: responses are cut where the context ends.",
    "responses are cut before the limit that is reported",
)
_CUT_SHARE = 0.2


def response_findings(task: str, samples: Iterable[Sample], limit: int) -> Iterator[Finding]:
    """Warnings about responses that were cut or are empty.

    Args:
        task: its name.
        samples: of the task.
        limit: most tokens of a response.

    Example:
        >>> cut = Sample("0", 0, "", "length", 8, 0.1, correct=False)
        >>> [finding.kind.name for finding in response_findings("sums", [cut], 8)]
        ['responses_cut', 'empty_responses']
    """
    all_samples = list(samples)
    total, cut = len(all_samples), sum(sample.is_truncated for sample in all_samples)
    empty = sum(not sample.response.strip() for sample in all_samples)
    if cut > _CUT_SHARE * total:
        yield NEVER_STOPS(cut=cut, total=total, task=task, limit=limit)
    if empty:
        yield EMPTY(empty=empty, total=total, task=task)
