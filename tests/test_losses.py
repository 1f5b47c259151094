import math

import pytest
import torch

from safr.losses import importance_loss, information_loss, interaction_loss
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


def published_interaction(attention):
    """The sum that the authors' code computes: I without its diagonal, the mean over all texts, heads and pairs."""
    total = 0.0
    for text in attention:
        for head in text:
            for i in range(len(head)):
                for j in range(len(head)):
                    overlap = 0.0 if i == j else float(head[i] @ head[j])
                    total += float(head[i, j]) * (1 - overlap)
    return total / attention.numel()


def padded_batch():
    """Embeddings as long as the paper's, the last tokens of a text being equal padding, some masked to zero."""
    vectors = torch.randn(3, 7, 16) * 4
    vectors[0, 4:] = vectors[0, 4]
    vectors[1, 2:5] = 0
    return vectors


def attention_of(texts=2, heads=3, tokens=6):
    return torch.randn(texts, heads, tokens, tokens, dtype=torch.float64).softmax(dim=-1)


def test_importance_by_hand():
    # P1 = 0.36 and P2 = 9 (see the metrics' tests), E = 2, T = 2.
    vectors = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    assert float(importance_loss(vectors)) == pytest.approx((math.sqrt(0.18) + math.sqrt(4.5)) / 2)


def test_importance_without_a_mask_is_the_published_sum():
    vectors = padded_batch()
    assert float(importance_loss(vectors)) == pytest.approx(published_importance(vectors.double()), rel=1e-5)


def test_interaction_without_a_mask_is_the_published_sum():
    attention = attention_of()
    attention[0, :, :, 4:] = 0  # padded keys get no attention, padded queries still count
    attention = attention / attention.sum(dim=-1, keepdim=True)
    found = interaction_loss(attention.float(), exclude_self=True)
    assert float(found) == pytest.approx(published_interaction(attention), rel=1e-5)


def test_interaction_by_hand():
    # Uniform attention over two tokens: I = 1/2 everywhere, so each of the four terms is 1/2 * 1/2.
    attention = torch.full((1, 1, 2, 2), 0.5)
    assert float(interaction_loss(attention)) == pytest.approx(1 / 4)
    assert float(interaction_loss(attention, exclude_self=True)) == pytest.approx((2 * 0.5 + 2 * 0.25) / 4)


def test_interaction_is_lowest_where_all_tokens_attend_to_the_same_one():
    attention = torch.zeros(1, 1, 4, 4)
    attention[..., 0] = 1
    assert float(interaction_loss(attention)) == 0


@pytest.mark.parametrize("scale_free", [False, True])
def test_padding_changes_nothing_in_importance(scale_free):
    vectors = torch.randn(2, 5, 8)
    padded = torch.cat([vectors, torch.full((2, 3, 8), float("nan"))], dim=1)
    mask = (torch.arange(8) < 5).expand(2, 8)
    expected = importance_loss(vectors, scale_free=scale_free)
    torch.testing.assert_close(importance_loss(padded, mask, scale_free), expected)


@pytest.mark.parametrize("exclude_self", [False, True])
def test_padding_changes_nothing_in_interaction(exclude_self):
    attention = attention_of(tokens=5)
    padded = torch.rand(2, 3, 8, 8, dtype=torch.float64)
    padded[..., :5, :5] = attention
    mask = (torch.arange(8) < 5).expand(2, 8)
    expected = interaction_loss(attention, exclude_self=exclude_self)
    torch.testing.assert_close(interaction_loss(padded, mask, exclude_self), expected)


def test_texts_of_different_lengths_count_alike():
    vectors = torch.randn(2, 6, 8)
    mask = torch.tensor([[True] * 6, [True] * 2 + [False] * 4])
    expected = (importance_loss(vectors[:1]) + importance_loss(vectors[1:, :2])) / 2
    torch.testing.assert_close(importance_loss(vectors, mask), expected)
    attention = attention_of(tokens=6)
    expected = (interaction_loss(attention[:1]) + interaction_loss(attention[1:, :, :2, :2])) / 2
    torch.testing.assert_close(interaction_loss(attention, mask), expected)


def test_a_text_without_counting_tokens_adds_nothing():
    mask = torch.zeros(1, 4, dtype=torch.bool)
    assert float(importance_loss(torch.randn(1, 4, 3), mask)) == 0
    assert float(interaction_loss(torch.rand(1, 2, 4, 4), mask)) == 0
    assert float(information_loss(torch.rand(1, 4), mask)) == 0


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


def test_interaction_counts_the_pairs_that_see_each_other():
    attention, mask = (
        attention_of(tokens=6).tril().float(),
        torch.tensor([[True] * 6, [False, True, True, True] * 1 + [False] * 2]),
    )
    visible = torch.ones(6, 6, dtype=torch.bool).tril().expand(2, 1, 6, 6)
    slow = []
    for text, counted in zip(attention, mask, strict=True):
        tokens = counted.nonzero().flatten().tolist()
        for head in text[:, tokens][:, :, tokens]:
            pairs = [(i, j) for i in range(len(tokens)) for j in range(i + 1)]
            slow.append(sum(float(head[i, j] * (1 - head[i] @ head[j])) for i, j in pairs) / len(pairs))
    assert float(interaction_loss(attention, mask, visible=visible)) == pytest.approx(sum(slow) / len(slow), rel=1e-5)
    everything = torch.ones_like(visible)
    torch.testing.assert_close(interaction_loss(attention, mask, visible=everything), interaction_loss(attention, mask))


def test_gradients_are_right():
    vectors = torch.randn(2, 4, 6, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(importance_loss, (vectors,))
    attention = attention_of(tokens=4).requires_grad_()
    torch.autograd.gradcheck(interaction_loss, (attention,))
    keep = torch.rand(2, 4, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(information_loss, (keep,))


def test_gradients_are_finite_at_masked_equal_and_orthogonal_tokens():
    vectors = torch.zeros(1, 6, 8)
    vectors[0, 1:3] = 1
    vectors[0, 3, 0], vectors[0, 4, 1] = 1, -1
    vectors.requires_grad_()
    importance_loss(vectors).backward()
    assert vectors.grad.isfinite().all()
    keep = torch.tensor([[0.0, 0.5, 1.0]], requires_grad=True)
    information_loss(keep).backward()
    assert keep.grad.isfinite().all()


def test_autocast_changes_nothing():
    vectors, attention = torch.randn(2, 5, 8) * 256, attention_of().float()
    vectors[:, 1] = vectors[:, 0]
    expected = importance_loss(vectors), interaction_loss(attention)
    with torch.autocast("cpu", dtype=torch.float16):
        assert (importance_loss(vectors), interaction_loss(attention)) == expected


def test_information_by_hand():
    assert float(information_loss(torch.full((2, 3), 0.5))) == pytest.approx(-math.log(2))
    assert float(information_loss(torch.tensor([[0.0, 1.0]]))) == 0
