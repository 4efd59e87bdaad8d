"""Rows are handed out a few at a time, each once, whatever the sizes of tiles and pieces."""

import pytest
import torch

from crossdistill.ops import LMHead
from crossdistill.ops.pieces import logit_pieces, pieces


@pytest.mark.parametrize("piece", [1, 10, 23, 10**6])
@pytest.mark.parametrize("tile", [1, 20, 31, 10**6])
@pytest.mark.parametrize(("scale", "softcap", "temperature"), [(1.0, None, 1.0), (0.5, 3.0, 0.7)])
def test_pieces_are_the_rows_of_all_logits(monkeypatch, piece, tile, scale, softcap, temperature):
    monkeypatch.setattr("crossdistill.ops.pieces.PIECE_ELEMENTS", piece)
    make = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(9, 4, generator=make), torch.randn(10, 4, generator=make)
    head = LMHead(weight, None, scale, softcap)
    found = torch.full((9, 10), torch.nan)
    for rows, logits in logit_pieces(hidden, head, temperature, tile):
        assert len(logits) <= max(1, min(tile, piece) // 10)
        assert found[rows].isnan().all()
        found[rows] = logits
        logits.fill_(-1)  # whoever gets them may write to them
    torch.testing.assert_close(found, head.logits(hidden) / temperature)


def test_no_rows_give_no_pieces():
    assert list(logit_pieces(torch.zeros(0, 4), LMHead(torch.eye(4)))) == []
    assert list(pieces(slice(3, 3), 5, torch.device("cpu"))) == []
