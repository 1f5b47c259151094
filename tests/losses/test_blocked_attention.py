import pytest
import torch

import safr.losses.blocked_attention as module
from safr.losses.blocked_attention import BlockedAttention


@pytest.mark.parametrize("block", [2**20, 100, 30, 3])
@pytest.mark.parametrize("bias", [None, (1, 1, 6, 6), (4, 1, 6, 6), (4, 3, 6, 6), (4, 1, 1, 6)])
def test_blocks_are_all_weights_once(monkeypatch, block, bias):
    monkeypatch.setitem(module._BLOCK, "cpu", block)
    heads = BlockedAttention(
        torch.randn(4, 3, 6, 5), torch.randn(4, 3, 6, 5), None if bias is None else torch.randn(bias), 0.3
    )
    seen = torch.zeros(4, 6)
    total = torch.zeros(4, 6, 6)
    for texts, rows, weights in heads.iter_blocks():
        seen[texts, rows] += weights.shape[1]
        total[texts, rows] += weights.sum(dim=1)
    assert (seen == 3).all()
    torch.testing.assert_close(total, heads.compute_weights().sum(dim=1))


def test_some_heads_have_their_own_bias():
    heads = BlockedAttention(torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5), torch.randn(1, 3, 4, 4), 0.3)
    drawn = heads.select_heads(torch.tensor([2, 0]))
    torch.testing.assert_close(drawn.compute_weights(), heads.compute_weights()[:, [2, 0]])


def test_half_precision_is_raised_and_double_kept():
    for dtype, expected in ((torch.bfloat16, torch.float32), (torch.float64, torch.float64)):
        heads = BlockedAttention(
            *(torch.randn(1, 1, 2, 3, dtype=dtype) for _ in range(2)), None, 1.0
        ).to_full_precision()
        assert heads.query.dtype == heads.key.dtype == expected
