import math

import pytest
import torch

from safr.losses import information_loss


def test_information_by_hand():
    assert float(information_loss(torch.full((2, 3), 0.5))) == pytest.approx(-math.log(2))
    assert float(information_loss(torch.tensor([[0.0, 1.0]]))) == 0


def test_a_text_without_counting_tokens_adds_nothing():
    assert float(information_loss(torch.rand(1, 4), torch.zeros(1, 4, dtype=torch.bool))) == 0


def test_gradients_are_right_and_finite():
    keep = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(information_loss, (keep,))
    settled = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    information_loss(settled).backward()
    assert settled.grad.isfinite().all()
