"""Bytes that a step moves."""

from benchmarks.scaling.workload import Workload

TOKEN_ID_BYTES = 7  # of a token id in JSON, with its comma: five or six digits


def bytes_of_step(work: Workload, answer_bytes: float, replicas: int, sampled_bytes: float) -> dict[str, float]:
    """Bytes by what they carry.

    Args:
        work: the run.
        answer_bytes: of a teacher's answer, for each token that it reads (measured: `measure.py`).
        replicas: of the rollout engine, each of which gets all weights.
        sampled_bytes: of an engine's answer, for each token that it samples.
    """
    responses = float(work.lengths.sum())
    teacher_tokens = work.tokens * work.tokens_per_token
    return {
        "weights": 2 * work.student.parameters * replicas,
        "prompts to the sampler": work.batch * work.prompt_tokens * TOKEN_ID_BYTES,
        "samples and their log-probs": responses * sampled_bytes,
        "requests to the teacher": teacher_tokens * TOKEN_ID_BYTES,
        "answers of the teacher": teacher_tokens * answer_bytes,
    }
