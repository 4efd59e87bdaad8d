"""The student's tokens of several parts put together: gaps between sampled tokens stay known."""

import torch

from crossdistill.objectives import StudentTokens


def tokens(ids: list[int], positions: list[int] | None = None) -> StudentTokens:
    values = torch.arange(len(ids), dtype=torch.float32)
    ends = torch.arange(1, len(ids) + 1)
    return StudentTokens(
        torch.tensor(ids), ends, values, values, None if positions is None else torch.tensor(positions)
    )


def test_a_part_without_gaps_is_counted_through_beside_one_with_gaps():
    together = StudentTokens.concatenate([tokens([5, 6]), tokens([7, 8, 9], [0, 2, 3])], [0, 2])
    assert together.positions.tolist() == [0, 1, 0, 2, 3]
    assert together.ends.tolist() == [1, 2, 3, 4, 5]


def test_parts_without_gaps_have_no_positions():
    assert StudentTokens.concatenate([tokens([5]), tokens([6])], [0, 1]).positions is None


def test_a_copy_on_a_device_keeps_what_there_is():
    cpu = torch.device("cpu")
    assert tokens([5, 6], [0, 3]).to(cpu).positions.tolist() == [0, 3]
    assert tokens([5, 6]).to(cpu).positions is None
