import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from safr.superposition import capacity, capacity_from_overlaps, interference, normalize, polysemanticity

METRICS = (interference, polysemanticity, capacity)


def slow_polysemanticity(vectors):
    directions = [h / h.norm() if h.norm() > 0 else h for h in vectors]
    return torch.stack(
        [
            sum(((d @ vectors[j]) ** 2 for j in range(len(vectors)) if j != i), torch.zeros((), dtype=vectors.dtype))
            for i, d in enumerate(directions)
        ]
    )


def slow_capacity(vectors):
    overlap = [[(a @ b) ** 2 for b in vectors] for a in vectors]
    return torch.stack([row[i] / sum(row) if row[i] > 0 else row[i] for i, row in enumerate(overlap)])


def vectors_of(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def test_interference_by_hand():
    vectors = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert interference(vectors).tolist() == [[5, -2], [-2, 1]]
    assert interference(vectors, squared=True).tolist() == [[25, 4], [4, 1]]


def test_polysemanticity_by_hand():
    # h1 = (3, 4), h2 = (1, 0): the unit vector of h1 is (0.6, 0.8), so P1 = 0.6^2; P2 = 3^2.
    assert polysemanticity(torch.tensor([[3.0, 4.0], [1.0, 0.0]])).tolist() == pytest.approx([0.36, 9])


def test_capacity_by_hand():
    # C1 = 25^2 / (25^2 + 3^2); C2 = 1 / (1 + 3^2)
    assert capacity(torch.tensor([[3.0, 4.0], [1.0, 0.0]])).tolist() == pytest.approx([625 / 634, 0.1])


def test_capacity_of_orthogonal_vectors_is_one():
    assert capacity(torch.eye(5) * 3).tolist() == [1] * 5


def test_capacity_of_n_equal_vectors_is_one_nth():
    assert capacity(torch.full((8, 3), 2.0)).tolist() == pytest.approx([1 / 8] * 8)


def test_a_vector_that_is_no_number_is_not_taken_for_the_zero_vector():
    vectors = torch.eye(3)
    vectors[1] = torch.nan
    assert capacity(vectors).isnan().all()


def test_capacity_of_the_zero_vector_is_zero_and_leaves_the_others_alone():
    vectors = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    assert capacity(vectors).tolist() == [0, 1, 1]


@pytest.mark.parametrize(("tokens", "width"), [(3, 7), (7, 3), (5, 5), (1, 4), (4, 1)])
def test_fast_forms_equal_slow_loops(tokens, width):
    vectors = vectors_of(tokens, width)
    torch.testing.assert_close(polysemanticity(vectors), slow_polysemanticity(vectors))
    torch.testing.assert_close(capacity(vectors), slow_capacity(vectors))


@given(st.integers(1, 12), st.integers(1, 6), st.integers(0, 2**31))
def test_capacity_lies_between_zero_and_one_and_sums_to_at_most_tokens_and_width(tokens, width, seed):
    vectors = torch.randn(tokens, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    found = capacity(vectors)
    assert (found >= 0).all()
    assert (found <= 1 + 1e-12).all()
    assert found.sum() <= min(tokens, width) + 1e-9


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(6, 9), (9, 6)])
def test_padding_with_any_content_changes_nothing(metric, shape):
    vectors = vectors_of(2, *shape)
    padding = torch.full((2, 4, shape[1]), float("nan"), dtype=torch.float64)
    padding[0] = float("inf")
    padded = torch.cat([vectors, padding], dim=1)
    mask = torch.arange(padded.shape[1]) < shape[0]
    found = metric(padded, mask.expand(2, -1))
    kept = found[:, : shape[0]]
    torch.testing.assert_close(kept[..., : shape[0]] if metric is interference else kept, metric(vectors))
    assert not found[:, shape[0] :].any()


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_tokens_does_not_matter(metric):
    vectors, order = vectors_of(6, 4), torch.randperm(6)
    expected = metric(vectors)[order]
    torch.testing.assert_close(metric(vectors[order]), expected[:, order] if metric is interference else expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_rotation_of_the_directions_changes_nothing(metric):
    vectors = vectors_of(6, 4)
    rotation = torch.linalg.qr(vectors_of(4, 4)).Q
    torch.testing.assert_close(metric(vectors @ rotation), metric(vectors))


def test_capacity_does_not_depend_on_the_common_scale():
    vectors = vectors_of(6, 4)
    torch.testing.assert_close(capacity(vectors * 1e-3), capacity(vectors))


@pytest.mark.parametrize("metric", METRICS)
def test_any_leading_axes_are_batches(metric):
    vectors = vectors_of(2, 3, 5, 4)
    torch.testing.assert_close(metric(vectors)[1, 2], metric(vectors[1, 2]))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_dtype_is_kept_and_the_sums_are_taken_in_float32_at_least(metric, dtype):
    vectors = vectors_of(20, 300).to(dtype)
    found = metric(vectors)
    assert found.dtype == dtype
    # Rounding the exact result once is all that a short type may cost.
    torch.testing.assert_close(found, metric(vectors.to(torch.float64)).to(dtype))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(3, 8), (8, 3)])
def test_gradients_are_right(metric, shape):
    vectors = vectors_of(*shape).requires_grad_()
    torch.autograd.gradcheck(metric, (vectors,))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3)])
def test_they_are_ordinary_functions_of_tensors(metric, shape):
    vectors = torch.randn(2, *shape, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradgradcheck(metric, (vectors,))
    torch.testing.assert_close(torch.func.vmap(metric)(vectors), metric(vectors))
    slope = torch.func.grad(lambda given: metric(given).square().sum())(vectors.detach())
    torch.testing.assert_close(slope, torch.autograd.grad(metric(vectors).square().sum(), vectors)[0])
    torch.testing.assert_close(metric(vectors=vectors), metric(vectors))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_gradients_are_finite_at_zero_and_repeated_vectors(metric, shape):
    vectors = torch.zeros(shape)
    vectors[1:3] = 1.0
    vectors.requires_grad_()
    metric(vectors).sum().backward()
    assert vectors.grad.isfinite().all()


def test_padding_gets_no_gradient():
    vectors = torch.randn(1, 5, 3, requires_grad=True)
    mask = torch.tensor([[True, True, True, False, False]])
    capacity(vectors, mask).sum().backward()
    assert vectors.grad[0, :3].abs().sum() > 0
    assert not vectors.grad[0, 3:].any()


@pytest.mark.parametrize("metric", [polysemanticity, capacity])
def test_no_square_matrix_is_held_for_texts_longer_than_the_width(metric):
    tokens, width = 3000, 4
    largest = 0

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            largest = max(largest, result.numel() if isinstance(result, torch.Tensor) else 0)
            return result

    vectors = torch.randn(tokens, width, requires_grad=True)
    with Largest():
        metric(vectors).sum().backward()
    assert largest <= tokens * width


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("shape", [(5, 300), (300, 5)])
def test_autocast_does_not_take_the_products_in_half_precision(metric, shape):
    vectors = torch.randn(shape) * 16
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(metric(vectors), metric(vectors).float())
        cast = metric(vectors)
    assert torch.equal(cast, metric(vectors))


def test_rounding_is_no_sharing():
    orthogonal = torch.eye(8)[:3] * 256
    padded = torch.cat([orthogonal, torch.zeros(40, 8)])
    mask = torch.arange(43) < 3
    assert polysemanticity(padded, mask).tolist() == [0] * 43
    shared = torch.randn(40, 8)
    torch.testing.assert_close(polysemanticity(shared), slow_polysemanticity(shared), rtol=1e-5, atol=0)


def test_normalized_vectors_have_length_one_or_zero():
    vectors = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    assert normalize(vectors).norm(dim=-1).tolist() == pytest.approx([1, 0])


@pytest.mark.parametrize("scale", [1e-38, 1e-12, 1e-3, 1.0, 1e3, 1e12, 1e37])
@pytest.mark.parametrize("shape", [(3, 7, 16), (2, 16, 5), (4, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_capacity_from_overlaps_is_capacity(scale, shape, dtype):
    vectors = (vectors_of(*shape) * scale).to(dtype)
    mask = torch.rand(shape[:-1], generator=torch.Generator().manual_seed(2)) < 0.8
    mask[..., 0] = True
    vectors = torch.where(mask[..., None], vectors, torch.inf)  # what does not count may be anything
    found, expected = capacity_from_overlaps(vectors, mask), capacity(vectors, mask)
    torch.testing.assert_close(found, expected, rtol=1e-5 if dtype != torch.bfloat16 else 1e-2, atol=1e-6)


def test_capacity_from_overlaps_by_hand():
    mask = torch.ones(2, dtype=torch.bool)
    found = capacity_from_overlaps(torch.tensor([[3.0, 4.0], [1.0, 0.0]]), mask)
    assert found.tolist() == pytest.approx([625 / 634, 0.1])


def test_capacity_from_overlaps_of_zero_vectors_and_of_no_numbers_is_capacity():
    vectors, mask = torch.eye(4), torch.tensor([True, True, True, False])
    vectors[1] = 0
    assert capacity_from_overlaps(vectors, mask).tolist() == [1, 0, 1, 0]
    vectors[2] = torch.nan
    assert capacity_from_overlaps(vectors, mask).isnan().tolist() == capacity(vectors, mask).isnan().tolist()
