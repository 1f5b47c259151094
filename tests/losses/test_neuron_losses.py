"""The losses of others on the activations of neurons."""

import math
from collections import Counter

import pytest
import torch

from safr.losses import NEURON_LOSSES, decorrelation_loss, l1_l2_loss, l1_loss, monosemanticity_loss, token_entropy_loss
from tests.numeric_range import jaxtyping_off

each_loss = pytest.mark.parametrize("name", NEURON_LOSSES)
NEURONS = 6
SCALE_FREE = ("l1_l2", "decorrelation", "token_entropy", "monosemanticity")


def padded_batch(dtype=torch.float64):
    """Activations after ReLU, so that about half are 0, tokens of which many stand twice, and padding at the end."""
    activations = torch.randn(3, 7, NEURONS, dtype=dtype).relu()
    tokens = torch.randint(1, 5, (3, 7))
    mask = torch.arange(7) < torch.tensor([[7], [4], [2]])
    return activations, tokens, mask


def slow_l1(activations, tokens, mask):
    texts = []
    for text, counts in zip(activations, mask, strict=True):
        texts.append([sum(abs(float(a)) for a in row) / NEURONS for row in text[counts]])
    return sum(sum(text) / len(text) for text in texts) / len(texts)


def slow_l1_l2(activations, tokens, mask):
    texts = []
    for text, counts in zip(activations, mask, strict=True):
        values = []
        for row in text[counts].tolist():
            norm = math.sqrt(sum(a * a for a in row))
            values.append((sum(map(abs, row)) / norm - 1) / (math.sqrt(NEURONS) - 1) if norm else 0.0)
        texts.append(sum(values) / len(values))
    return sum(texts) / len(texts)


def slow_decorrelation(activations, tokens, mask):
    columns = [column for column in activations[mask].T.tolist() if any(column)]
    total, pairs = 0.0, 0
    for i, one in enumerate(columns):
        for j, other in enumerate(columns):
            if i != j:
                dot = sum(a * b for a, b in zip(one, other, strict=True))
                total += dot**2 / sum(a * a for a in one) / sum(b * b for b in other)
                pairs += 1
    return total / pairs


def slow_token_entropy(activations, tokens, mask):
    words, entropies = tokens[mask].tolist(), []
    for column in activations[mask].T.tolist():
        sums = Counter()
        for word, value in zip(words, column, strict=True):
            sums[word] += max(value, 0)
        total = sum(sums.values())
        if total:
            shares = [value / total for value in sums.values() if value]
            entropies.append(-sum(p * math.log(p) for p in shares) / math.log(len(set(words))))
    return sum(entropies) / len(entropies)


def slow_monosemanticity(activations, tokens, mask):
    words, scores = tokens[mask].tolist(), []
    for column in activations[mask].T.tolist():
        alike, pairs = 0.0, 0.0
        for i, one in enumerate(column):
            for j, other in enumerate(column):
                if i != j:
                    pairs += max(one, 0) * max(other, 0)
                    alike += max(one, 0) * max(other, 0) * (words[i] == words[j])
        if pairs:
            scores.append(alike / pairs)
    return 1 - sum(scores) / len(scores)


SLOW = {
    "l1": slow_l1,
    "l1_l2": slow_l1_l2,
    "decorrelation": slow_decorrelation,
    "token_entropy": slow_token_entropy,
    "monosemanticity": slow_monosemanticity,
}


@each_loss
@pytest.mark.parametrize("sign", [1, -1])
def test_a_loss_is_its_equation_in_a_slow_loop(name, sign):
    for _ in range(5):
        activations, tokens, mask = padded_batch()
        activations[..., 2] *= sign  # GELU's are negative too
        activations[..., 3] = 0
        expected = SLOW[name](activations, tokens, mask)
        assert float(NEURON_LOSSES[name](activations, tokens, mask)) == pytest.approx(expected)


def test_each_by_hand():
    # Three tokens, the first and the last alike; the second neuron answers to that token alone.
    activations = torch.tensor([[[3.0, 1.0], [3.0, 0.0], [3.0, 1.0]]])
    tokens = torch.tensor([[5, 8, 5]])
    assert float(l1_loss(activations)) == pytest.approx(11 / 6)
    both = (4 / math.sqrt(10) - 1) / (math.sqrt(2) - 1)
    assert float(l1_l2_loss(activations)) == pytest.approx(2 * both / 3)
    assert float(decorrelation_loss(activations)) == pytest.approx(36 / (27 * 2))
    entropy = -(2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2)
    assert float(token_entropy_loss(activations, tokens)) == pytest.approx(entropy / 2)
    # Of the first neuron's three pairs one is of equal tokens, of the second's one pair, that one.
    assert float(monosemanticity_loss(activations, tokens)) == pytest.approx(1 - (1 / 3 + 1) / 2)


def test_neurons_that_each_answer_to_one_token_have_no_loss_but_l1():
    tokens = torch.arange(4).repeat(1, 3)
    activations = torch.eye(4)[tokens] * torch.tensor([1.0, 2.0, 3.0, 4.0])
    assert l1_loss(activations, tokens) > 0
    for name in SCALE_FREE:
        assert float(NEURON_LOSSES[name](activations, tokens, None)) == pytest.approx(0, abs=1e-6), name
    rotation, _ = torch.linalg.qr(torch.randn(4, 4))
    for name in SCALE_FREE:
        assert NEURON_LOSSES[name]((activations @ rotation).abs(), tokens, None) > 0.1, name


@each_loss
def test_padding_changes_nothing(name):
    activations, tokens, mask = padded_batch()
    expected = NEURON_LOSSES[name](activations, tokens, mask)
    activations[~mask], tokens[~mask] = math.nan, 77
    torch.testing.assert_close(NEURON_LOSSES[name](activations, tokens, mask), expected)
    longer = torch.cat([activations, torch.full((3, 5, NEURONS), math.inf, dtype=torch.float64)], dim=1)
    more = [torch.cat([part, torch.zeros(3, 5, dtype=part.dtype)], dim=1) for part in (tokens, mask)]
    torch.testing.assert_close(NEURON_LOSSES[name](longer, *more), expected)


@each_loss
def test_the_gradient_is_the_quotient_of_differences(name):
    activations, tokens, mask = padded_batch()
    activations = (activations + 0.1 * (activations > 0)).requires_grad_()  # away from ReLU's kink, zeros stay zeros
    (gradient,) = torch.autograd.grad(NEURON_LOSSES[name](activations, tokens, mask), activations)
    assert gradient.isfinite().all()
    assert not gradient[~mask].any()
    for place in (activations > 0).nonzero()[:40].tolist():
        step = torch.zeros_like(activations)
        step[tuple(place)] = 1e-6
        with torch.no_grad():
            above, below = (NEURON_LOSSES[name](activations + sign * step, tokens, mask) for sign in (1, -1))
        assert float(gradient[tuple(place)]) == pytest.approx(float(above - below) / 2e-6, rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("name", SCALE_FREE)
def test_the_size_of_activations_does_not_matter_but_to_l1(name):
    activations, tokens, mask = padded_batch(torch.float32)
    expected = NEURON_LOSSES[name](activations, tokens, mask)
    for size in (1e-30, 1e30):
        torch.testing.assert_close(NEURON_LOSSES[name](activations * size, tokens, mask), expected)
    torch.testing.assert_close(l1_loss(activations * 4, tokens, mask), l1_loss(activations, tokens, mask) * 4)


@each_loss
@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 4), (2, 3, 0), (1, 1, 1), (2, 3, 4)])
def test_without_anything_active_a_loss_is_0_and_has_a_gradient(name, shape):
    activations = torch.zeros(shape, requires_grad=True)
    loss = NEURON_LOSSES[name](activations, torch.ones(shape[:2], dtype=torch.long), None)
    loss.backward()
    assert loss == 0
    assert activations.grad.isfinite().all()


@each_loss
def test_a_nan_that_counts_is_not_silent(name):
    activations, tokens, mask = padded_batch()
    activations[0, 0] = math.nan
    assert NEURON_LOSSES[name](activations, tokens, mask).isnan()


@each_loss
def test_half_precision_is_computed_in_float32(name):
    activations, tokens, mask = padded_batch(torch.bfloat16)
    loss = NEURON_LOSSES[name](activations, tokens, mask)
    assert loss.dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(NEURON_LOSSES[name](activations, tokens, mask), loss)


@each_loss
def test_what_does_not_fit_is_refused(name):
    activations, tokens, mask = padded_batch()
    with jaxtyping_off():
        with pytest.raises(TypeError, match="activations must be a torch tensor"):
            NEURON_LOSSES[name](activations.tolist(), tokens, mask)
        with pytest.raises(ValueError, match="mask must have the shape"):
            NEURON_LOSSES[name](activations, tokens, mask[:2])
        if name in ("token_entropy", "monosemanticity"):
            with pytest.raises(ValueError, match="tokens must have the shape"):
                NEURON_LOSSES[name](activations, tokens[:2], mask)
            with pytest.raises(TypeError, match=r"tokens must be a tensor of whole numbers.*float64"):
                NEURON_LOSSES[name](activations, activations[..., 0], mask)
