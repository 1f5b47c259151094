import math

import pytest
import torch

from safr.errors import InputError
from safr.losses import importance_loss, information_loss
from safr.superposition import capacity


def published_importance(vectors):
    """The sum that the authors' code computes, written from its description: padding counts like any token."""
    texts, tokens, width = vectors.shape
    total = 0.0
    for text in vectors:
        for i in range(tokens):
            direction = text[i] / (1e-5 + text[i].norm())
            total += math.sqrt(sum(float(direction @ text[j]) ** 2 for j in range(tokens) if j != i)) / math.sqrt(width)
    return total / (texts * tokens)


def padded_batch():
    """Embeddings as long as the paper's, the last tokens of a text being equal padding, some masked to zero."""
    vectors = torch.randn(3, 7, 16) * 4
    vectors[0, 4:] = vectors[0, 4]
    vectors[1, 2:5] = 0
    return vectors


def test_importance_by_hand():
    # P1 = 0.36 and P2 = 9 (see the metrics' tests), E = 2, T = 2.
    vectors = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    assert float(importance_loss(vectors)) == pytest.approx((math.sqrt(0.18) + math.sqrt(4.5)) / 2)


def test_importance_without_a_mask_is_the_published_sum():
    vectors = padded_batch()
    assert float(importance_loss(vectors)) == pytest.approx(published_importance(vectors.double()), rel=1e-5)


@pytest.mark.parametrize("scale_free", [False, True])
def test_padding_changes_nothing_in_importance(scale_free):
    vectors = torch.randn(2, 5, 8)
    padded = torch.cat([vectors, torch.full((2, 3, 8), float("nan"))], dim=1)
    mask = (torch.arange(8) < 5).expand(2, 8)
    expected = importance_loss(vectors, scale_free=scale_free)
    torch.testing.assert_close(importance_loss(padded, mask, scale_free), expected)


def test_importance_is_linear_in_the_vectors_length_unless_scale_free():
    vectors = torch.randn(2, 5, 8)
    torch.testing.assert_close(importance_loss(vectors * 10), importance_loss(vectors) * 10)
    torch.testing.assert_close(
        importance_loss(vectors * 10, scale_free=True), importance_loss(vectors, scale_free=True)
    )
    torch.testing.assert_close(importance_loss(vectors, scale_free=True), (1 - capacity(vectors)).mean())


def test_weighted_importance_by_hand():
    # C1 = 625 / 634 and C2 = 1 / 10 (see the metrics' tests), T = 2; the second token is asked to share.
    vectors, weights = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]]), torch.tensor([[0.5, -0.5]])
    found = importance_loss(vectors, scale_free=True, weights=weights)
    assert float(found) == pytest.approx((0.5 * 9 / 634 - 0.5 * 9 / 10) / 2)


def test_weights_ask_of_a_token_that_matters_more_a_direction_of_its_own():
    vectors = torch.randn(1, 5, 8, requires_grad=True)
    weights = torch.tensor([[3.0, -1.0, -1.0, -1.0, 0.0]])
    importance_loss(vectors, scale_free=True, weights=weights).backward()
    before, after = capacity(vectors.detach())[0], capacity(vectors.detach() - 0.1 * vectors.grad)[0]
    assert after[0] > before[0]
    assert after[1:4].sum() < before[1:4].sum()


def test_texts_of_different_lengths_count_alike():
    vectors = torch.randn(2, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    expected = (importance_loss(vectors[:1]) + importance_loss(vectors[1:, :2])) / 2
    torch.testing.assert_close(importance_loss(vectors, mask), expected)


def test_a_text_without_counting_tokens_adds_nothing():
    assert float(importance_loss(torch.randn(1, 4, 3), torch.zeros(1, 4, dtype=torch.bool))) == 0


@pytest.mark.parametrize("shape", [(2, 4, 6), (2, 6, 4)])
@pytest.mark.parametrize("scale_free", [False, True])
def test_gradients_are_right(shape, scale_free):
    vectors = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    weights = torch.randn(shape[:2], dtype=torch.float64)
    torch.autograd.gradcheck(lambda each: importance_loss(each, None, scale_free, weights), (vectors,))


def test_gradients_are_finite_at_masked_equal_and_orthogonal_tokens():
    vectors = torch.zeros(1, 6, 8)
    vectors[0, 1:3] = 1
    vectors[0, 3, 0], vectors[0, 4, 1] = 1, -1
    vectors.requires_grad_()
    importance_loss(vectors).backward()
    assert vectors.grad.isfinite().all()


@pytest.mark.parametrize("scale_free", [False, True])
def test_half_precision_is_rounded_before_the_loss_and_not_in_it(scale_free):
    vectors = torch.randn(2, 5, 8).to(torch.bfloat16)
    found = importance_loss(vectors, scale_free=scale_free)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, importance_loss(vectors.float(), scale_free=scale_free))


def test_autocast_changes_nothing():
    vectors = torch.randn(2, 5, 8) * 256
    vectors[:, 1] = vectors[:, 0]
    expected = importance_loss(vectors)
    with torch.autocast("cpu", dtype=torch.float16):
        assert importance_loss(vectors) == expected


@pytest.mark.parametrize("scale_free", [False, True])
def test_a_second_derivative_is_refused(scale_free):
    vectors = torch.randn(1, 3, 4, requires_grad=True)
    with pytest.raises(InputError, match="differentiated only once"):
        torch.autograd.grad(importance_loss(vectors, scale_free=scale_free), vectors, create_graph=True)


def test_information_by_hand():
    assert float(information_loss(torch.full((2, 3), 0.5))) == pytest.approx(-math.log(2))
    assert float(information_loss(torch.tensor([[0.0, 1.0]]))) == 0


def test_a_text_without_counting_tokens_has_no_information():
    assert float(information_loss(torch.rand(1, 4), torch.zeros(1, 4, dtype=torch.bool))) == 0


def test_gradients_are_right_and_finite():
    keep = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(information_loss, (keep,))
    settled = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    information_loss(settled).backward()
    assert settled.grad.isfinite().all()
