"""Superposition metrics: interference, polysemanticity and capacity of the tokens of a text.

Pure functions on any tensor, with any leading axes. They compute in float32 at least, and padding never matters.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def in_full_precision(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function of tensors, with autocast off: it would take the matrix products in half precision again."""

    @functools.wraps(measure)
    def measure_in_full_precision(*args: Any, **options: Any) -> Tensor:
        tensor = next(value for value in (*args, *options.values()) if isinstance(value, Tensor))
        with torch.autocast(tensor.device.type, enabled=False):
            return measure(*args, **options)

    return measure_in_full_precision


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
    sum over all j is $\hat h_i^\top G \hat h_i$ with $G = \sum_j h_j h_j^\top$.

    Args:
        vectors: One row per token.
        mask: True where a token counts; the others get 0 and are ignored. Default: all count.

    Returns:
        At least 0, in units of the vectors squared; 0 for the zero vector.

    >>> polysemanticity(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    tensor([4.0000, 0.8000])
    """
    return shared_directions(_counted(vectors, mask))[0].to(vectors.dtype)


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
        NaN for a vector with a NaN in it and for all others of its text.
        The sum over a text is at most min(T, E).

    >>> capacity(torch.ones(4, 3))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    counted = _counted(vectors, mask)
    own = counted.square().sum(dim=-1)  # (*batch, token)
    total = own + shared_directions(counted)[0]
    # The inner `where` keeps 0/0 out of the gradient as well as out of the value.
    return torch.where(own == 0, 0.0, own / torch.where(own == 0, 1.0, total)).to(vectors.dtype)


def normalize(vectors: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token width"]:
    """Each vector divided by its norm; the zero vector stays zero.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    counted = _counted(vectors, None)
    return (counted / vector_norms(counted)).to(vectors.dtype)


def shared_directions(
    vectors: Float[Tensor, "*batch token width"],
) -> tuple[Float[Tensor, "*batch token"], Float[Tensor, "*batch token other"]]:
    """Polysemanticity of vectors in full precision, and the product it is made of, for whoever needs its gradient.

    The product is that of the directions with the vectors, without i = j, or where T > E with the sum G.
    """
    tokens, width = vectors.shape[-2:]
    directions = vectors / vector_norms(vectors)
    if tokens <= width:
        overlap = directions @ vectors.mT  # (*batch, token, token)
        overlap.diagonal(dim1=-2, dim2=-1).zero_()
        return overlap.square().sum(dim=-1), overlap
    overlap = directions @ (vectors.mT @ vectors)  # (*batch, token, width)
    own = vectors.square().sum(dim=-1)
    shared = (overlap * directions).sum(dim=-1) - own
    # Rounding leaves an orthogonal token a share that is none, and its root would be 1,000 times as large.
    return torch.where(shared > torch.finfo(own.dtype).eps * tokens * own, shared, 0.0), overlap


def vector_norms(vectors: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token 1"]:
    """Length of each vector, to divide by: 1 for the zero vector, which has no direction."""
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    return torch.where(norm > 0, norm, 1.0)


def _counted(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors in float32 or better, with zeros where a token does not count, whatever stood there."""
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return exact if mask is None else torch.where(mask[..., None], exact, 0.0)
