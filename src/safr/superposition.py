"""Vectors in, numbers out: how the tokens of a text share the directions of one layer.

Pure functions on any tensor, with any leading axes. They compute in float32 at least, and padding never matters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.autograd.function import once_differentiable


def in_full_precision(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function of a tensor, with autocast off: it would take the matrix products in half precision again."""

    @functools.wraps(measure)
    def measured(tensor: Tensor, *options: object, **named: object) -> Tensor:
        with torch.autocast(tensor.device.type, enabled=False):
            return measure(tensor, *options, **named)

    return measured


@in_full_precision
def interference(
    vectors: Float[Tensor, "*batch token width"],
    mask: Bool[Tensor, "*batch token"] | None = None,
    squared: bool = False,
) -> Float[Tensor, "*batch token token"]:
    r"""Overlap of every two tokens' vectors.

    $$I_{ij} = h_i \cdot h_j$$

    Source: SAFR (Chang et al. 2025), eq. 1; `squared=True` gives the preprint's $(h_i \cdot h_j)^2$.

    Args:
        vectors: One row per token.
        mask: True where a token counts; the others' rows and columns are 0. Default: all count.
        squared: Square every overlap.

    Returns:
        Overlaps in units of the vectors squared, symmetric; the diagonal holds the squared norms.

    >>> interference(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    tensor([[1., 2.],
            [2., 5.]])
    """
    counted = _counted(vectors, mask)
    overlap = counted @ counted.mT  # (*batch, token, token)
    return (overlap.square() if squared else overlap).to(vectors.dtype)


@in_full_precision
def polysemanticity(
    vectors: Float[Tensor, "*batch token width"],
    mask: Bool[Tensor, "*batch token"] | None = None,
) -> Float[Tensor, "*batch token"]:
    r"""How much of the other tokens lies along each token's own direction.

    $$P_i = \sum_{j \neq i} (\hat h_i \cdot h_j)^2, \quad \hat h_i = h_i / \lVert h_i \rVert$$

    Source: SAFR (Chang et al. 2025), eq. 2. Costs $T E \min(T, E)$ and, where T > E, holds no T x T matrix: there the
    sum over all j is $\hat h_i^\top G \hat h_i$ with $G = \sum_j h_j h_j^\top$. The gradient is in closed form, once:
    there is no second derivative.

    Args:
        vectors: One row per token.
        mask: True where a token counts; the others get 0 and are ignored. Default: all count.

    Returns:
        At least 0, in units of the vectors squared; 0 for the zero vector.

    >>> polysemanticity(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    tensor([4.0000, 0.8000])
    """
    return _Polysemanticity.apply(_counted(vectors, mask)).to(vectors.dtype)


@in_full_precision
def capacity(
    vectors: Float[Tensor, "*batch token width"],
    mask: Bool[Tensor, "*batch token"] | None = None,
) -> Float[Tensor, "*batch token"]:
    r"""Share of its own direction that each token has to itself.

    $$C_i = (h_i \cdot h_i)^2 / \sum_j (h_i \cdot h_j)^2$$

    Source: SAFR (Chang et al. 2025), eq. 3, after Scherlis et al. 2022 (arXiv:2210.01892).

    Args:
        vectors: One row per token. Rows need not be normalised.
        mask: True where a token counts; the others get 0 and are ignored. Default: all count.

    Returns:
        Ratio in [0, 1]: 1 when a token is orthogonal to all others, 1/n when n tokens coincide, 0 for the zero vector.
        The sum over a text is at most min(T, E).

    >>> capacity(torch.ones(4, 3))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    counted = _counted(vectors, mask)
    own = counted.square().sum(dim=-1)  # (*batch, token)
    total = own + _Polysemanticity.apply(counted)
    # The inner `where` keeps 0/0 out of the gradient as well as out of the value.
    return torch.where(own > 0, own / torch.where(own > 0, total, 1.0), 0.0).to(vectors.dtype)


def normalized(vectors: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token width"]:
    """Each vector divided by its norm; the zero vector stays zero.

    >>> normalized(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    return _directions(_counted(vectors, None)).to(vectors.dtype)


def _counted(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors in float32 or better, with zeros where a token does not count, whatever stood there."""
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return exact if mask is None else torch.where(mask[..., None], exact, 0.0)


def _directions(vectors: Tensor) -> Tensor:
    return vectors / _norm(vectors)


def _norm(vectors: Tensor) -> Tensor:
    """Length of each vector, (*batch, token, 1), to divide by: 1 for the zero vector, which has no direction."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)


class _Polysemanticity(torch.autograd.Function):
    """Polysemanticity with a backward pass that keeps one matrix, of overlaps or T x E, and makes one product of it.

    Autograd would keep the directions, the overlaps, and their squares, and needs two products.
    """

    @staticmethod
    def forward(ctx: Any, vectors: Tensor) -> Tensor:
        tokens, width = vectors.shape[-2:]
        directions = _directions(vectors)
        if tokens <= width:
            overlap = directions @ vectors.mT  # (*batch, token, token)
            overlap.diagonal(dim1=-2, dim2=-1).zero_()
            shared = torch.linalg.vector_norm(overlap, dim=-1).square()
        else:
            together = vectors.mT @ vectors  # (*batch, width, width)
            overlap = directions @ together  # (*batch, token, width)
            own = vectors.square().sum(dim=-1)
            shared = (overlap * directions).sum(dim=-1) - own
            # Rounding leaves an orthogonal token a share that is none, and its root would be 1,000 times as large.
            shared = torch.where(shared > torch.finfo(own.dtype).eps * tokens * own, shared, 0.0)
        ctx.save_for_backward(vectors, overlap, shared)
        return shared

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        vectors, overlap, shared = ctx.saved_tensors
        norm = _norm(vectors)
        scale = 2 * gradient[..., None] / norm
        if vectors.shape[-2] <= vectors.shape[-1]:
            # P_i = sum over j of O_ij^2 with O_ij = h^_i . h_j: the vectors get (s O + (s O)^T) h with s the scale,
            # less what lengthening h_i takes from P_i, which stands on the diagonal.
            scaled = overlap * scale
            both = scaled + scaled.mT
            both.diagonal(dim1=-2, dim2=-1).copy_(-(scale * shared[..., None] / norm)[..., 0])
            return both @ vectors
        # P_i = h^_i^T G h^_i - |h_i|^2 with G the sum of all h_j h_j^T, and O = h^ G.
        scale = torch.where(shared[..., None] > 0, scale / norm, 0.0)
        scaled = vectors * scale
        lengthening = scaled * (shared[..., None] + 2 * norm.square())
        return torch.addcmul(vectors @ (vectors.mT @ scaled), overlap, scale * norm) - lengthening
