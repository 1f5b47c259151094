"""Superposition metrics: interference, polysemanticity and capacity of the tokens of a text.

Pure functions on tensors of floating point, with any leading axes. They compute in float32 at least, and padding never
matters. Vectors are divided by powers of two first, which is exact, so that neither long nor short ones leave the range
of their type on the way: a result is infinite or 0 only where the type can't hold the true one. A NaN or an infinity
makes NaN of what it takes part in, never a number, and never of another text.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_BITS = {torch.float32: (torch.int32, 23, 127), torch.float64: (torch.int64, 52, 1023)}
"""How a number is laid out: an integer of the same size, the bits after the exponent, and the exponent's bias."""

_SAFE_SQUARES = 2.0**-80, 2.0**80
"""Between which a vector's squared overlap with itself must lie for sums of such squares to be exact in float32."""


def in_full_precision(measure: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The same function of tensors, with autocast off: it would take the matrix products in half precision again."""

    @functools.wraps(measure)
    def measure_in_full_precision(*args: Any, **options: Any) -> Tensor:
        tensor = next((value for value in (*args, *options.values()) if isinstance(value, Tensor)), None)
        if tensor is None or not torch.amp.is_autocast_available(tensor.device.type):
            return measure(*args, **options)
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
        Overlaps in units of the vectors squared and in their type, symmetric; the diagonal holds the squared norms.
        Overlaps that are too large for the type are infinite (float16 ends at 65,504). A vector with a NaN or an
        infinity gives NaN in its row and column.

    >>> interference(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    tensor([[1., 2.],
            [2., 5.]])
    """
    counted = _counted(vectors, mask)
    large = _excess(_size_roots(counted).square())
    counted = counted / large
    overlap = counted @ counted.mT * large * large.mT  # (*batch, token, token)
    overlap = overlap.square() if squared else overlap
    if mask is not None:
        overlap = torch.where(mask[..., None] & mask[..., None, :], overlap, 0.0)  # 0 times NaN is NaN
    return overlap.to(vectors.dtype)


@in_full_precision
def polysemanticity(
    vectors: Float[Tensor, "*batch token width"],
    mask: Bool[Tensor, "*batch token"] | None = None,
) -> Float[Tensor, "*batch token"]:
    r"""How much of the other tokens' vectors lies along each token's own direction.

    $$P_i = \sum_{j \neq i} (\hat h_i \cdot h_j)^2, \quad \hat h_i = h_i / \lVert h_i \rVert$$

    Source: SAFR (Chang et al. 2025), eq. 2. Costs $T E \min(T, E)$ and, where T > E, holds no T x T matrix: there the
    sum over all j is $\hat h_i^\top G \hat h_i$ with $G = \sum_j h_j h_j^\top$.

    Args:
        vectors: One row per token.
        mask: True where a token counts; the others get 0 and are ignored. Default: all count.

    Returns:
        At least 0, in units of the vectors squared and in their type. It is 0 for the zero vector, and infinite if it
        is too large for the type. A NaN or an infinity in a text gives NaN for all its other vectors. If T > E, the
        error is about T times the precision of the type, relative to the squared length of the longest vector.

    >>> polysemanticity(torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    tensor([4.0000, 0.8000])
    """
    scaled, roots = split_sizes(_counted(vectors, mask))
    directions, norms = take_directions(scaled)
    sizes = roots.square()
    if scaled.shape[-2] <= scaled.shape[-1]:
        large = _excess(sizes)
        shared, _ = share_directions(directions, norms, scaled * (sizes / large), [large.mT])
    else:
        large = _excess(sizes.amax(dim=-2, keepdim=True))
        shared, _ = share_directions(directions, norms, scaled * (sizes / large))
        shared = shared * large[..., 0] * large[..., 0]
    return shared.to(vectors.dtype)


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
        A vector with a NaN or an infinity gives NaN for itself and for all other vectors of its text, except zero
        vectors. The length of the vectors does not matter. If T <= E, it does not matter either how different their
        lengths are. If T > E, the error is about T times the precision of the type, relative to the squared length of
        the longest vector: a vector that is less than about a thousandth as long, and orthogonal to it, gets no exact
        capacity.
        The sum over a text is at most min(T, E). The gradient is about 1 over the length of the vector. If that is too
        large for the type, the gradient is infinite or NaN.

    >>> capacity(torch.ones(4, 3))
    tensor([0.2500, 0.2500, 0.2500, 0.2500])
    """
    scaled, roots = split_sizes(_counted(vectors, mask))
    lengths = scaled.square().sum(dim=-1)  # (*batch, token)
    directions, norms = take_directions(scaled)
    others, factors, sizes = place_beside_others(scaled, roots)
    own = measure_own(lengths, sizes)
    total = own + share_directions(directions, norms, others, factors)[0]
    # The inner `where` keeps 0/0 out of the gradient as well as out of the value.
    return torch.where(lengths == 0, 0.0, own / torch.where(lengths == 0, 1.0, total)).to(vectors.dtype)


@in_full_precision
def capacity_from_overlaps(
    vectors: Float[Tensor, "*batch token width"], mask: Bool[Tensor, "*batch token"]
) -> Float[Tensor, "*batch token"]:
    """`capacity` in about a third of the time, from one product of the vectors where their lengths allow it.

    The overlaps of vectors of extreme lengths are beyond the type; those go through `capacity`. Finding out looks at
    values, which stops a GPU and can't be traced, so this is for inference.

    Args:
        vectors: One row per token.
        mask: True where a token counts; the others get 0 and are ignored.
    """
    if vectors.shape[-2] > vectors.shape[-1]:
        return capacity(vectors, mask)
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    squares = (exact @ exact.mT).square()  # (*batch, token, token)
    own = squares.diagonal(dim1=-2, dim2=-1)
    if not (((own > _SAFE_SQUARES[0]) & (own < _SAFE_SQUARES[1])) | ~mask).all():
        return capacity(vectors, mask)
    total = torch.where(mask[..., None, :], squares, 0.0).sum(dim=-1)
    return torch.where(mask, own / total, 0.0).to(vectors.dtype)


def normalize(vectors: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token width"]:
    """Each vector divided by its norm; the zero vector stays zero, one with a NaN or an infinity in it becomes NaN.

    >>> normalize(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    counted = _counted(vectors, None)
    directions, norms = take_directions(split_sizes(counted)[0])
    return torch.where(norms == 0, counted, directions).to(vectors.dtype)  # 0 with a slope of 1, and not of 1 / 0


def split_sizes(
    vectors: Float[Tensor, "*batch token width"],
) -> tuple[Float[Tensor, "*batch token width"], Float[Tensor, "*batch token 1"]]:
    """Vectors with entries of about 1, and the roots of their sizes, the powers of two that they were divided by.

    A vector with a NaN or an infinity in it becomes NaN, and so does its size.
    """
    roots = _size_roots(vectors)
    return vectors / roots.square(), roots


def take_directions(
    scaled: Float[Tensor, "*batch token width"],
) -> tuple[Float[Tensor, "*batch token width"], Float[Tensor, "*batch token 1"]]:
    """Vectors from `split_sizes` divided by their norms, and the norms; the zero vector stays 0."""
    norms = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True)
    return scaled / torch.where(norms == 0, 1.0, norms), norms


def share_directions(
    directions: Float[Tensor, "*batch token width"],
    norms: Float[Tensor, "*batch token 1"],
    others: Float[Tensor, "*batch token width"],
    factors: Sequence[Tensor] = (),
) -> tuple[Float[Tensor, "*batch token"], Float[Tensor, "*batch token other"]]:
    """Polysemanticity of tokens, and the product that it is made of, for whoever needs its gradient.

    The product is that of the directions with the others' vectors, without i = j, or where T > E with the sum G.

    Args:
        directions: From `take_directions`.
        norms: From `take_directions`.
        others: The vectors whose share is taken, in any unit.
        factors: What the overlaps are multiplied by, one after the other; where T <= E only.
    """
    tokens, width = others.shape[-2:]
    if tokens <= width:
        overlap = directions @ others.mT  # (*batch, token, token)
        if factors:
            most = torch.finfo(overlap.dtype).max / 4  # twice that still is a number
            # The square of what is cut is infinite all the same, but 0 times infinity has no place in a gradient.
            overlap = functools.reduce(torch.mul, factors, overlap).clamp(-most, most)
        overlap.diagonal(dim1=-2, dim2=-1).zero_()
        shared = overlap.square().sum(dim=-1)
    else:
        overlap = directions @ (others.mT @ others)  # (*batch, token, width)
        own = others.square().sum(dim=-1)
        shared = (overlap * directions).sum(dim=-1) - own
        # Rounding leaves an orthogonal token a share that is none, and its root would be 1,000 times as large.
        shared = torch.where(shared <= torch.finfo(own.dtype).eps * tokens * own, 0.0, shared)
    norms = norms.detach()[..., 0]
    return torch.where(norms > 0, shared, norms), overlap  # also of a text with a NaN, or of one NaN alone


def place_beside_others(
    scaled: Float[Tensor, "*batch token width"], roots: Float[Tensor, "*batch token 1"]
) -> tuple[Float[Tensor, "*batch token width"], list[Tensor], Float[Tensor, "*batch token 1"] | None]:
    """Vectors from `split_sizes` and factors for `share_directions`, so that a token is compared in its own unit.

    Where T > E there are no overlaps to multiply, and the unit is the text's largest size. The last result is the
    tokens' sizes in that unit, None where each is its own.
    """
    if scaled.shape[-2] <= scaled.shape[-1]:
        ratio = roots.mT / roots  # sizes differ by more than a number can hold, but not their roots
        return scaled, [ratio, ratio], None
    sizes = size_in_text(roots)
    return scaled * sizes, [], sizes


def size_in_text(roots: Float[Tensor, "*batch token 1"]) -> Float[Tensor, "*batch token 1"]:
    """Sizes of tokens, at most 1: that of the text's largest is the unit."""
    sizes = roots.square()
    return sizes / sizes.amax(dim=-2, keepdim=True)


def measure_own(
    lengths: Float[Tensor, "*batch token"], sizes: Float[Tensor, "*batch token 1"] | None
) -> Float[Tensor, "*batch token"]:
    """Squared lengths in the unit of `place_beside_others`, kept from vanishing beside far longer vectors."""
    return lengths if sizes is None else (lengths * sizes[..., 0].square()).clamp_min(shortest(lengths.dtype) ** 2)


def shortest(dtype: torch.dtype) -> float:
    """Length in units of the text's longest below which lengths are not told apart: its square's square must fit."""
    return math.ldexp(1.0, -(_BITS[dtype][2] * 6 // 25))  # 2^-30 in float32


def check_floats(name: str, value: Any, axes: str, *, leading: bool = False) -> None:
    """Refuse what is no tensor of floating point with these axes.

    Args:
        name: What the caller calls it.
        value: What came.
        axes: Names of the axes, with commas between them.
        leading: Whether there may be more axes before them.

    Raises:
        TypeError: No tensor, or one of another type.
        ValueError: Another number of axes.
    """
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch tensor, got {_type_name(value)}; make one with torch.as_tensor")
    if value.dtype not in _FLOATS:
        hint = "" if value.is_complex() else "; convert it with .float()"
        raise TypeError(f"{name} must be float16, bfloat16, float32 or float64, got {_short(value.dtype)}{hint}")
    expected = axes.count(",") + 1
    if value.ndim < expected or (value.ndim > expected and not leading):
        shape = f"(..., {axes})" if leading else f"({axes})"
        raise ValueError(f"{name} must have the shape {shape}, got {tuple(value.shape)}")


def check_mask(name: str, mask: Any, shape: Sequence[int], of: str) -> None:
    """Refuse a mask that is no tensor of truth values of this shape.

    Args:
        name: What the caller calls it.
        mask: What came; None passes.
        shape: The one shape that fits.
        of: What it must fit to.

    Raises:
        TypeError: No tensor, or one of another type.
        ValueError: Another shape.
    """
    if mask is None:
        return
    if not isinstance(mask, Tensor):
        raise TypeError(f"{name} must be a torch tensor of truth values, got {_type_name(mask)}")
    if mask.dtype != torch.bool:
        hint = "is 0 or -inf where others have True" if mask.is_floating_point() else "holds 0 and 1"
        raise TypeError(
            f"{name} must hold truth values, got {_short(mask.dtype)}; one that {hint} becomes one by "
            f"{name} {'==' if mask.is_floating_point() else '!='} 0"
        )
    check_shape(name, mask, shape, of)


def check_shape(name: str, value: Tensor, shape: Sequence[int], of: str) -> None:
    """Refuse a tensor that does not fit another."""
    if tuple(value.shape) != tuple(shape):
        raise ValueError(
            f"{name} must have the shape {tuple(shape)}, one value for each {of}, got {tuple(value.shape)}"
        )


def _counted(vectors: Tensor, mask: Tensor | None) -> Tensor:
    """The vectors in float32 or better, with zeros where a token does not count, whatever stood there."""
    check_floats("vectors", vectors, "token, width", leading=True)
    check_mask("mask", mask, vectors.shape[:-1], "token of vectors")
    exact = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    return exact if mask is None else torch.where(mask[..., None], exact, 0.0)


def _size_roots(vectors: Float[Tensor, "*batch token width"]) -> Float[Tensor, "*batch token 1"]:
    """A power of two for each vector whose square is about the largest entry; NaN where an entry is not finite.

    It is read from the bits of the exponent, which is exact on every device. Sizes stay where their inverse is a number
    too: from 2^-126 to 2^126 in float32.
    """
    if vectors.shape[-1] == 0:
        return vectors.new_ones(*vectors.shape[:-1], 1)
    vectors = vectors.detach()
    largest = torch.maximum(vectors.amax(dim=-1, keepdim=True), -vectors.amin(dim=-1, keepdim=True))
    integer, fraction, bias = _BITS[vectors.dtype]
    exponents = (largest.view(integer) >> fraction).bitwise_and(2 * bias + 1) - bias
    halves = exponents.clamp(1 - bias, bias - 1) >> 1
    roots = ((halves + bias) << fraction).view(vectors.dtype)
    return torch.where(largest < torch.inf, roots, torch.nan)


def _excess(sizes: Float[Tensor, "*batch token 1"]) -> Float[Tensor, "*batch token 1"]:
    """What sizes are to be divided by, at least 1, so that sums of products of two such vectors fit."""
    return (sizes * math.ldexp(1.0, -(_BITS[sizes.dtype][2] * 2 // 5))).clamp_min(1)  # above 2^50 in float32


def _type_name(value: Any) -> str:
    return "None" if value is None else type(value).__name__


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
