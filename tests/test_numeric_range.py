"""Every tensor function of vectors over the whole range of its type, against exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from safr.losses import importance_loss, information_loss, interaction_loss
from safr.superposition import capacity, interference, normalize, polysemanticity
from tests.numeric_range import (
    DTYPES,
    boundary_shares,
    boundary_values,
    dot,
    exact_importance,
    exact_information,
    exact_interaction,
    exact_interference,
    exact_normalized,
    exact_polysemanticity,
    exact_root,
    exact_rows,
    exact_weighted_importance,
    jaxtyping_off,
)

SHAPES = [(3, 4), (4, 2), (1, 3), (3, 3), (5, 1)]


def check_close(found, exact, dtype, absolute=0):
    """Each number is the exact one to the type's precision, or infinite where the type ends."""
    info = torch.finfo(dtype)
    for got, want in zip(found.double().flatten().tolist(), exact, strict=True):
        error = Fraction(8 * info.eps) * abs(want) + absolute + Fraction(2 * info.smallest_normal * info.eps)
        if math.isinf(got):
            assert abs(want) + error > Fraction(info.max)
        else:
            assert abs(Fraction(got) - want) <= error, got


def flatten(rows):
    return [value for row in rows for value in row]


def check_text(vectors, found, dtype):
    """What the functions gave for one text of finite numbers."""
    tokens, width = vectors.shape
    eps = Fraction(torch.finfo(torch.promote_types(dtype, torch.float32)).eps)
    lengths = [dot(row, row) for row in exact_rows(vectors)]
    noise = 0 if tokens <= width else 8 * tokens * eps * max(lengths, default=0)
    # A product of vectors is as exact as their lengths allow.
    largest = [[exact_root(one * other) for other in lengths] for one in lengths]
    for got, want, most in zip(
        found["interference"].flatten(), flatten(exact_interference(vectors)), flatten(largest), strict=True
    ):
        check_close(got[None], [want], dtype, 8 * eps * most)
    check_close(found["normalize"], flatten(exact_normalized(vectors)), dtype)
    exact = exact_polysemanticity(vectors)
    for i, want in enumerate(exact):
        others = sum((b for j, b in enumerate(lengths) if j != i), 0) if lengths[i] else 0
        check_close(found["polysemanticity"][i][None], [want], dtype, 16 * eps * others + noise)
        got, least, most = found["capacity"][i].item(), 0, 0
        assert math.isfinite(got)
        if not lengths[i]:
            assert got == 0
            continue
        slack = 16 * eps * others + noise
        least, most = (lengths[i] / (lengths[i] + max(want + by, 0)) for by in (slack, -slack))
        margin = 8 * torch.finfo(dtype).eps
        assert float(least) - margin <= got <= float(most) + margin, (got, float(least), float(most))
    if tokens <= width:
        check_close(
            found["root"][None],
            [exact_importance(vectors, False)],
            found["root"].dtype,
            64 * eps * max((abs(x) for x in flatten(exact_rows(vectors))), default=0),
        )
    assert 0 <= found["free"] <= 1


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@settings(max_examples=60)
@given(data=st.data())
def test_every_boundary_value_gives_the_exact_result_or_none(dtype, autocast, data):
    tokens, width = data.draw(st.sampled_from(SHAPES))
    values = st.sampled_from(boundary_values(dtype)) | st.floats(-4, 4, width=16)
    some = data.draw(st.lists(values, min_size=tokens * width, max_size=tokens * width))
    vectors = torch.tensor(some, dtype=torch.float64).to(dtype).view(tokens, width)
    padded = data.draw(st.booleans())
    given_vectors, mask = vectors, None
    if padded:
        given_vectors = torch.cat([vectors, torch.tensor([[math.nan], [math.inf]], dtype=dtype).expand(2, width)])
        mask = torch.arange(tokens + 2) < tokens
    batch_mask = None if mask is None else mask[None]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        leaf = given_vectors[None].clone().requires_grad_()
        losses = {name: importance_loss(leaf, batch_mask, scale) for name, scale in (("root", False), ("free", True))}
        found = {
            "interference": interference(given_vectors, mask)[:tokens, :tokens],
            "polysemanticity": polysemanticity(given_vectors, mask)[:tokens],
            "capacity": capacity(given_vectors, mask)[:tokens],
            "normalize": normalize(given_vectors)[:tokens],
        }
        measured = given_vectors.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(capacity(measured, mask).sum(), measured)
    # 1 over the length, which the gradient of all but the root is about, must be a number.
    lengths = vectors.abs().amax(dim=-1).to(torch.promote_types(dtype, torch.float32))
    is_in_range = bool(((lengths == 0) | (lengths >= torch.finfo(lengths.dtype).tiny)).all())
    assert not (is_in_range and gradient.isnan().any())
    # Rows beyond the width, where padding makes them so, are summed in another way, with another error.
    if padded and tokens <= width < tokens + 2:
        assert all(value.isfinite().all() for value in (found["capacity"], found["normalize"]))
    else:
        check_text(vectors, found | {name: loss.detach() for name, loss in losses.items()}, dtype)
    for name, loss in losses.items():
        if loss.isfinite() and (is_in_range or name == "root"):
            (slope,) = torch.autograd.grad(loss, leaf)
            assert not slope.isnan().any()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("autocast", [False, True], ids=["plain", "autocast"])
@given(data=st.data())
def test_losses_of_boundary_shares_and_weights_are_exact(dtype, autocast, data):
    tokens = data.draw(st.integers(1, 4))
    shares = st.sampled_from(boundary_shares(dtype)) | st.floats(0, 1, width=16)
    exclude_self, padding = data.draw(st.booleans()), data.draw(st.integers(0, 2))

    def draw(*shape, values=shares):
        size = math.prod(shape)
        some = data.draw(st.lists(values, min_size=size, max_size=size))
        return torch.tensor(some, dtype=torch.float64).to(dtype).view(shape)

    def pad(tensor, *axes):
        sizes = [size + padding * (axis in axes) for axis, size in enumerate(tensor.shape)]
        padded = torch.full(sizes, math.nan, dtype=dtype)
        padded[tuple(slice(size) for size in tensor.shape)] = tensor
        return padded[None].requires_grad_()

    keep, attention, vectors = draw(tokens), draw(1, tokens, tokens), draw(tokens, 4, values=st.floats(-4, 4, width=16))
    weights = draw(tokens, values=st.sampled_from(boundary_values(dtype)))
    mask = torch.arange(tokens + padding)[None] < tokens if padding else None
    padded = pad(keep, 0), pad(attention, 1, 2), pad(vectors, 0), pad(weights, 0)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        losses = [
            information_loss(padded[0], mask),
            interaction_loss(padded[1], mask, exclude_self),
            importance_loss(padded[2], mask, True, padded[3]),
        ]
    exact = [
        exact_information(keep),
        exact_interaction(attention[0], exclude_self),
        exact_weighted_importance(vectors, weights),
    ]
    eps = Fraction(torch.finfo(losses[0].dtype).eps)
    heaviest = max(abs(Fraction(weight)) for weight in weights.double().tolist())
    for loss, want, most in zip(losses, exact, (1, 1, heaviest), strict=True):
        check_close(loss.detach()[None], [want], loss.dtype, 16 * tokens * eps * most)
        for leaf, slope in zip(padded, torch.autograd.grad(loss, padded, allow_unused=True), strict=True):
            overflows = heaviest > Fraction(torch.finfo(loss.dtype).max) / 64
            assert slope is None or overflows or not slope[leaf.isfinite()].isnan().any()


@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("width", [2, 4])
def test_large_weights_overflow_neither_mean_nor_gradient(scale_free, width):
    vectors = torch.eye(width).repeat(1, 4, 1)[:, :3].requires_grad_()  # 3 tokens, of which 2 or none share
    largest = torch.finfo(torch.float32).max

    def weigh(vectors, weight):
        return importance_loss(vectors, None, scale_free, torch.full((1, 3), weight, dtype=vectors.dtype))

    torch.testing.assert_close(weigh(vectors, largest), weigh(vectors.double(), largest).float())
    (slope,) = torch.autograd.grad(weigh(vectors, largest / 64), vectors)
    (exact_slope,) = torch.autograd.grad(weigh(vectors.double(), largest / 64), vectors)
    torch.testing.assert_close(slope, exact_slope)


@pytest.mark.parametrize("bad", [-1e-6, 1 + 1e-6, math.nan, math.inf])
def test_the_information_of_what_is_no_probability_is_no_number(bad):
    keep = torch.tensor([[0.5, bad]], dtype=torch.float64)
    assert information_loss(keep).isnan()
    assert information_loss(keep, torch.tensor([[True, False]])) == information_loss(keep[:, :1])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("scale_free", [False, True])
@pytest.mark.parametrize("shape", [(4, 8), (8, 4), (1, 3)])
def test_a_loss_of_what_is_no_number_is_none_and_has_no_healthy_gradient(bad, scale_free, shape):
    vectors = torch.randn(1, *shape)
    vectors[0, 0, 1] = bad
    vectors.requires_grad_()
    loss = importance_loss(vectors, scale_free=scale_free)
    loss.backward()
    assert loss.isnan()
    assert not vectors.grad.isfinite().all()
    assert information_loss(torch.full((1, 3), bad)).isnan()
    attention = torch.full((1, 1, 3, 3), 1 / 3)
    attention[0, 0, 0, 1] = bad
    assert not interaction_loss(attention).isfinite()


def test_no_text_gives_zero():
    assert importance_loss(torch.zeros(0, 3, 4)) == 0
    assert importance_loss(torch.zeros(2, 0, 4)) == 0
    assert importance_loss(torch.zeros(2, 3, 0)) == 0
    assert information_loss(torch.zeros(0, 3)) == 0
    assert interaction_loss(torch.zeros(0, 2, 3, 3)) == 0


@pytest.mark.parametrize("measure", [capacity, polysemanticity, interference])
def test_what_is_no_tensor_of_floating_point_is_refused_in_one_line(measure):
    with pytest.raises(TypeError, match="torch tensor, got ndarray"), jaxtyping_off():
        list(map(measure, [np.ones((2, 2))]))
    with jaxtyping_off(), pytest.raises(TypeError, match="got int64; convert it"):
        measure(torch.ones(2, 2, dtype=torch.int64))
    with jaxtyping_off(), pytest.raises(TypeError, match="mask must hold truth values, got int64"):
        measure(torch.ones(2, 2), torch.ones(2, dtype=torch.int64))
    with jaxtyping_off(), pytest.raises(ValueError, match="mask must have the shape"):
        measure(torch.ones(2, 2), torch.ones(3, dtype=torch.bool))
