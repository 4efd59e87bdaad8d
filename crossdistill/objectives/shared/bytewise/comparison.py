"""The divergence of the student's distribution from byte-prefix targets: the loss of bpm, and the root of escd.

The student's side has the columns of the target (module `byte_prefixes`): ids of the same bytes, and all stop tokens,
are one column each, and its tokens without a column together face the residual.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from crossdistill.errors import InputError
from crossdistill.objectives.shared.bytewise.byte_prefixes import duplicates, merge_columns, prefixes_of, to_tensor
from crossdistill.objectives.shared.bytewise.realised_path import Moves
from crossdistill.objectives.shared.bytewise.targets import Targets
from crossdistill.objectives.shared.bytewise.token_offsets import TokenOffsets
from crossdistill.objectives.shared.divergence import Divergence
from crossdistill.objectives.shared.inputs import LossInputs
from crossdistill.objectives.shared.vocab_pair import Groups, VocabPair
from crossdistill.ops import Share, tiled_sum
from crossdistill.ops.tiled import TiledSum


def check_beginnings(pair: VocabPair, objective: str) -> None:
    """Raises InputError if no teacher token begins with a student token, so that all of a target is the residual."""
    tables = prefixes_of(pair)
    if (tables.columns(b"") == tables.residual).all():
        raise InputError(
            f"objective {objective!r} gives a teacher token's probability to the student token that it begins with, "
            'and no teacher token begins with one: choose an objective that needs none, such as "dpca" or "alm".'
        )


def target_divergence(
    inputs: LossInputs,
    token_offsets: TokenOffsets,
    tokens: np.ndarray,
    targets: Targets,
    moves: Moves,
    divergence: Divergence,
    temperature: float,
) -> TiledSum:
    """The sum over some student tokens of the divergence of the student's distribution from the target there.

    Args:
        inputs: the inputs of the loss; the teacher's signal is DENSE.
        token_offsets: of its batch.
        tokens: int64, the student tokens, ascending.
        targets: builds the targets of these.
        moves: the moves of all student tokens.
        divergence: the divergence.
        temperature: divides the logits of both sides.

    Returns:
        Nats; and as stats the target's residual, and the probability that moved on to longer student tokens.
    """
    (hidden, head), teacher, tables = inputs.student, inputs.batch.teacher.dense, prefixes_of(inputs.batch.pair)
    device = inputs.batch.device
    rows, numbers = to_tensor(token_offsets.rows[tokens], teacher.hidden.device), to_tensor(tokens, device)
    return tiled_sum(
        _function(targets, moves.of(numbers), tables.groups.to(device), tables.residual, divergence, temperature),
        hidden[numbers],
        head,
        teacher.hidden[rows],
        teacher.head,
        tile_elements=targets.tile_elements(head.vocab_size + teacher.head.vocab_size),
    )


def tempered(logits: Tensor, temperature: float) -> Tensor:
    """Logits divided by a temperature; as they are if it is 1."""
    return logits if temperature == 1 else logits / temperature


def _function(
    targets: Targets, moves: Moves, groups: Groups, num_tokens: int, divergence: Divergence, temperature: float
) -> Callable[..., Share]:
    is_duplicate = duplicates(groups, num_tokens)

    def share(student_logits: Tensor, teacher_logits: Tensor, numbers: Tensor) -> Share:
        with torch.no_grad():
            target, own, moved = moves.applied(*targets(tempered(teacher_logits, temperature), numbers), numbers)
            stats = {"residual": target[:, -1].clone(), "moved": moved}
            target.log_()
            own = own[:, :-1]
        log_probs = merge_columns(torch.log_softmax(tempered(student_logits, temperature), -1), groups)
        others = log_probs.masked_fill(own | is_duplicate, -torch.inf).logsumexp(-1, keepdim=True)
        named = divergence(log_probs.masked_fill(~own, -torch.inf), target[:, :-1])
        return Share(named + divergence(others, target[:, -1:]), stats)

    return share
