"""Credit: from the log-ratios of chunks to one advantage per student token, with the registry of all methods.

In a chunk the student's tokens have log-probabilities log p_i (sum L_S) and the teacher's log q_j (sum L_T), in nats.
The advantages A_i of every method satisfy ``sum_i A_i = L_T - L_S`` (conservation). They are ``log q - log p`` on a 1:1
chunk, and 0 if teacher and student agree.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from crossdistill import import_path
from crossdistill.align import Alignment
from crossdistill.errors import InputError
from crossdistill.objectives.shared.bytewise.marginal import marginal_credit
from crossdistill.objectives.shared.inputs import AlignedBatch

EPSILON_NATS = 1e-6
"""Below this |L_S| the student is certain of a chunk and its tokens get equal shares: their ratio would be noise."""


def _semantic_prior(logprobs: Tensor, chunk_of: Tensor, totals: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
    """share_i = log p_i / L_S (Breaking the Tokenizer Barrier, Eq. 9, in its stable form)."""
    total = totals[chunk_of]
    certain = total.abs() < EPSILON_NATS
    share = logprobs / torch.where(certain, torch.ones_like(total), total)
    return torch.where(certain, 1 / sizes[chunk_of], share)


def _uniform(logprobs: Tensor, chunk_of: Tensor, totals: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
    return 1 / sizes[chunk_of]


def _first(logprobs: Tensor, chunk_of: Tensor, totals: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
    return torch.zeros_like(logprobs).index_fill(0, first, 1.0)


def _last(logprobs: Tensor, chunk_of: Tensor, totals: Tensor, first: Tensor, sizes: Tensor) -> Tensor:
    return torch.zeros_like(logprobs).index_fill(0, first + sizes.long() - 1, 1.0)


_SHARES: dict[str, Callable[..., Tensor]] = {
    "semantic_prior": _semantic_prior,
    "uniform": _uniform,
    "first": _first,
    "last": _last,
}
SHARES = tuple(_SHARES)
"""The credits that share a chunk's log-ratio among its tokens (:func:`assign_credit`)."""


@dataclass(frozen=True)
class Credit:
    """A way to compute the advantages of a batch.

    Attributes:
        assign: batch -> advantages in nats, [N_S], constant.
        reads_distribution: whether it needs the teacher's distribution (DENSE or TOPK), not only the
            log-probabilities of the sampled text.
    """

    assign: Callable[[AlignedBatch], Tensor]
    reads_distribution: bool = False


def chunk_sums(values: Tensor, splits: Tensor) -> Tensor:
    """The sum over each chunk's tokens.

    Args:
        values: [num tokens].
        splits: int64 [num_chunks + 1]; chunk c holds tokens ``[splits[c], splits[c + 1])``.

    Returns:
        ``values[splits[c]:splits[c + 1]].sum()`` for each chunk, [num_chunks], differentiable.

    Example:
        >>> chunk_sums(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([0, 1, 3])).tolist()
        [1.0, 6.0]
    """
    return values.new_zeros(len(splits) - 1).index_add(0, _chunk_of(splits), values)


def _chunk_of(splits: Tensor) -> Tensor:
    """Index of each token's chunk: splits [num_chunks + 1] -> int64 [num tokens]."""
    return torch.repeat_interleave(torch.arange(len(splits) - 1, device=splits.device), splits.diff())


def assign_credit(
    student_logprobs: Tensor, teacher_logprobs: Tensor, alignment: Alignment, method: str = "semantic_prior"
) -> Tensor:
    """One advantage per student token, as a share of the log-ratio of its chunk.

    Args:
        student_logprobs: nats, [num student tokens]; entry i is the log-probability of token i given the tokens before
            it.
        teacher_logprobs: nats, [num teacher tokens], of the same bytes in the teacher's tokens.
        alignment: of one response, or of several concatenated ones.
        method: one of :data:`SHARES`: ``semantic_prior`` (the paper's: in proportion to the student's
            log-probabilities), ``uniform``, ``first`` or ``last`` (all to the first or last token of the chunk).

    Returns:
        Advantages in nats, [num student tokens], without gradient. Empty if there are no chunks.

    Raises:
        ValueError: the method is unknown, or log-probabilities do not match the alignment's tokens.

    Example:
        >>> import numpy as np
        >>> from crossdistill import align
        >>> alignment = align(np.array([2, 5, 6]), np.array([5, 6]))  # a 2:1 chunk and a 1:1 chunk
        >>> student, teacher = torch.tensor([-3.0, -1.0, -2.0]), torch.tensor([-2.0, -1.0])
        >>> assign_credit(student, teacher, alignment).tolist()
        [1.5, 0.5, 1.0]
        >>> assign_credit(student, teacher, alignment, method="uniform").tolist()
        [1.0, 1.0, 1.0]
    """
    if method not in _SHARES:
        way_out = "use batch_credit" if method in METHODS else f"choose one of {', '.join(SHARES)}"
        raise ValueError(f"credit {method!r} is not a share of a chunk's log-ratio: {way_out}")
    student_splits = torch.as_tensor(alignment.student_splits.copy(), device=student_logprobs.device)
    teacher_splits = torch.as_tensor(alignment.teacher_splits.copy(), device=student_logprobs.device)
    for side, logprobs, splits in (
        ("student", student_logprobs, student_splits),
        ("teacher", teacher_logprobs, teacher_splits),
    ):
        if logprobs.shape != (int(splits[-1]),):
            raise ValueError(f"the alignment has {int(splits[-1])} {side} tokens, not {tuple(logprobs.shape)}")
    student, teacher = student_logprobs.detach(), teacher_logprobs.detach().to(student_logprobs.device)
    sums = chunk_sums(student, student_splits)
    log_ratio = chunk_sums(teacher, teacher_splits) - sums
    chunk_of, sizes = _chunk_of(student_splits), student_splits.diff().to(student.dtype)
    share = _SHARES[method](student, chunk_of, sums, student_splits[:-1], sizes)
    return log_ratio[chunk_of] * share


def batch_credit(batch: AlignedBatch, method: str = "semantic_prior") -> Tensor:
    """One advantage per student token of a batch, by any method.

    Args:
        batch: aligned responses with the teacher's signal.
        method: one of :data:`METHODS`, or the import path (``"my_package.my_file:my_credit"``) of a function from an
            AlignedBatch to advantages.

    Returns:
        Advantages in nats, [N_S], without gradient. Empty for a batch without chunks.

    Raises:
        InputError: there is no such method.

    Example:
        >>> import numpy as np
        >>> from crossdistill import ByteVocab, align
        >>> from crossdistill.objectives import AlignedBatch, StudentTokens, TeacherTokens, VocabPair
        >>> from crossdistill.tokens import World
        >>> single_bytes = {byte: bytes([byte]) for byte in range(256)}
        >>> pieces = ByteVocab.from_tokenizer(World(single_bytes))
        >>> words = ByteVocab.from_tokenizer(World({**single_bytes, 256: b"hi"}))
        >>> ids, ends, old_logprobs = torch.tensor([104, 105]), torch.tensor([1, 2]), torch.tensor([-3.0, -1.0])
        >>> batch = AlignedBatch(
        ...     alignment=align(np.array([1, 2]), np.array([2])),
        ...     is_stop=np.array([False]),
        ...     response_splits=np.array([0, 1]),
        ...     pair=VocabPair(pieces, words),
        ...     student=StudentTokens(ids, ends, old_logprobs, old_logprobs),
        ...     teacher=TeacherTokens(torch.tensor([256]), torch.tensor([2]), torch.tensor([-2.0])),
        ... )
        >>> batch_credit(batch, "last").tolist()
        [0.0, 2.0]
    """
    return find(method).assign(batch)


def find(method: str) -> Credit:
    """The credit with a name or an import path.

    Args:
        method: as for :func:`batch_credit`. A function named by an import path that needs the teacher's distribution
            says so by an attribute ``reads_distribution = True``.

    Raises:
        InputError: there is no such method.

    Example:
        >>> find("marginal").reads_distribution
        True
    """
    if method in _CREDITS:
        return _CREDITS[method]
    if not import_path.is_import_path(method):
        raise InputError(f"there is no credit method {method!r}; choose one of {', '.join(METHODS)}.")
    assign = import_path.load(method, "credit")
    return Credit(assign, getattr(assign, "reads_distribution", False))


def _shared(method: str) -> Credit:
    return Credit(lambda batch: assign_credit(batch.student.logprobs, batch.teacher.logprobs, batch.alignment, method))


def _marginal(batch: AlignedBatch) -> Tensor:
    return marginal_credit(batch, _CREDITS["semantic_prior"].assign(batch))


_CREDITS = {**{name: _shared(name) for name in SHARES}, "marginal": Credit(_marginal, reads_distribution=True)}
METHODS = tuple(_CREDITS)
"""All credits by name."""
