"""The slow obvious twin of the alm loss: whole matrices of probabilities, one response and one chunk after the other.

Probabilities are multiplied and powers taken as the paper writes them, in float64; autograd differentiates it.
"""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Side(NamedTuple):
    """One response in one model's tokens.

    Attributes:
        probs: [tokens, V], the probabilities at each token's position.
        ids: the realised tokens.
        splits: the tokens of each chunk.
        boundary: the token ids that begin after a word.
        stops: the ids that a stop unit counts together.
    """

    probs: Tensor
    ids: Sequence[int]
    splits: Sequence[int]
    boundary: Sequence[int]
    stops: Sequence[int]

    def chunk(self, first: int, last: int, stopped: bool) -> Tensor:
        """Probability of the chunks from `first` to `last`, the last of which is a stop unit if `stopped`."""
        product = self.probs.new_ones(())
        end = self.splits[last + 1]
        for row in range(self.splits[first], end):
            is_stop = stopped and row == end - 1
            product = product * sum(self.probs[row, k] for k in (self.stops if is_stop else [self.ids[row]]))
        return product

    def boundary_after(self, chunk: int) -> Tensor:
        return sum(self.probs[self.splits[chunk + 1], k] for k in self.boundary)


def divergence(p: Tensor, q: Tensor, name: str, tau: float) -> Tensor:
    """The divergence of an event of probability p under the teacher and q under the student."""
    p, q = p ** (1 / tau), q ** (1 / tau)

    def f(a: Tensor, b: Tensor) -> Tensor:
        return {"forward": a * (a / b).log(), "reverse": b * (b / a).log(), "tvd": (a - b).abs()}[name]

    return f(p, q) + f(1 - p, 1 - q)


def loss(
    student: Side, teacher: Side, stopped: bool, *, name: str, tau: float, debias: bool, threshold: float
) -> tuple[Tensor, int]:
    """The sum of one response and its number of terms. Its last chunk is a stop unit if `stopped`."""
    num_chunks = len(student.splits) - 1
    total, terms, first = student.probs.sum() * 0, 0, 0
    for chunk in range(num_chunks):
        is_last = chunk == num_chunks - 1
        if debias and not is_last and not teacher.boundary_after(chunk) > threshold:
            continue  # merged with the next chunk
        both = [side.chunk(first, chunk, stopped and is_last) for side in (teacher, student)]
        if debias and not is_last:
            both = [p * side.boundary_after(chunk) for p, side in zip(both, (teacher, student), strict=True)]
        total = total + divergence(*both, name, tau)
        terms, first = terms + 1, chunk + 1
    return total, terms
