"""Rules of layer-wise relevance propagation, under which gradient times input adds up to what is differentiated."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.module import register_module_forward_hook
from torch.overrides import TorchFunctionMode
from torch.utils.hooks import RemovableHandle

from safr.model.forward_pass import HOOKS_LOCK, own_block, removing

Function = Callable[..., Any]

_TINY = 1e-6
"""Where the slope at 0 is read; float32 tells f(x) / x from its limit by less than its own precision there."""


@contextmanager
def relevance_rules() -> Iterator[None]:
    r"""Run models under the rules in a block, in its own thread alone: their output is then linear in their input.

    The output is what it always is, but for rounding; its gradient is another one. Weights count as constants. Held
    fixed, so that no gradient goes through them, are attention weights and whatever else is a softmax or a sigmoid, the
    scale $1/\sigma$ of norms, and the slopes $f(x)/x$ of activations, at 0 their limit. A product of two vectors that
    both depend on the input, as in a gated feed-forward layer, passes half of the gradient to each.

    Source: Ali et al. 2022 (ICML), sections 3.1 and 3.2, for attention and norms; Achtibat et al. 2024 (ICML), the
    identity rule for activations and the uniform rule for products.

    `find_unruled` says whether the rules cover all that was computed. Nothing is put on a model.
    """
    handles: list[RemovableHandle] = []
    with own_block() as is_own, removing(handles):

        def hold_slope(module: nn.Module, args: tuple, output: Any) -> Any:
            if is_own() and _is_composed(module) and _is_varying(output):
                return _hold_slope(module.forward, args[0])
            return None

        with HOOKS_LOCK:  # a hook on all modules, for BigBird and OpenAI's GPT call some that are not the model's own
            handles.append(register_module_forward_hook(hold_slope))
        with _Rules():
            yield


def find_unruled(output: Tensor) -> str:
    """Name of a computation behind a tensor that is not linear and has no rule; "" if there is none.

    Args:
        output: What was computed under `relevance_rules`, with its graph.
    """
    waiting, seen = [output.grad_fn], set[Any]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        name = re.sub(r"Backward\d*$", "", node.name().rpartition("::")[2])
        inputs = [source for source, _ in node.next_functions]
        varying = [place for place, source in enumerate(inputs) if source is not None]
        if name in _PRODUCTS:
            is_linear = len(set(varying) & set(_PRODUCTS[name])) < 2
        elif name in _CONSTANT_INPUTS or name.startswith("ScaledDotProduct"):
            is_linear = not set(varying) & set(_CONSTANT_INPUTS.get(name, (0, 1)))
        else:
            is_linear = name in _LINEAR
        if not is_linear:
            return name
        waiting += inputs
    return ""


class _Rules(TorchFunctionMode):
    """Puts the rules in the place of torch's functions, in the thread that enters it."""

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        args = tuple(map(_without_weights, args))
        options = {name: _without_weights(value) for name, value in (kwargs or {}).items()}
        rule = _RULES.get(func)
        if rule is None or not any(_is_varying(value) for value in (*args, *options.values())):
            return func(*args, **options)
        return rule(func, *args, **options)


def _without_weights(value: Any) -> Any:
    """A function's argument with weights as constants, so that only what depends on the input has a gradient."""
    if isinstance(value, nn.Parameter):
        return value.detach()
    if isinstance(value, list | tuple) and any(isinstance(part, nn.Parameter) for part in value):
        return type(value)(map(_without_weights, value))
    return value


def _is_varying(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _detach(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _hold_value(function: Function, *args: Any, **options: Any) -> Tensor:
    """The function's value as a constant."""
    return function(*map(_detach, args), **{name: _detach(value) for name, value in options.items()})


def _hold_slope(function: Function, input: Tensor, *args: Any, **options: Any) -> Tensor:
    """$x (f(x) / x)$ with the slope as a constant."""
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    fixed = wide.detach()
    limit = function(torch.full_like(fixed[..., :1], _TINY), *args, **options) / _TINY
    slope = torch.where(fixed == 0, limit, function(fixed, *args, **options) / fixed)
    return (wide * slope).to(input.dtype)


def _hold_layer_norm_scale(
    function: Function,
    input: Tensor,
    normalized_shape: Iterable[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *_: Any,
) -> Tensor:
    """Layer norm with 1 / its standard deviation as a constant."""
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    return _rescale(wide - wide.mean(dim=axes, keepdim=True), axes, weight, bias, eps).to(input.dtype)


def _hold_rms_norm_scale(
    function: Function,
    input: Tensor,
    normalized_shape: Iterable[int],
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    """RMS norm with 1 / the root of the mean square as a constant."""
    wide = input.to(torch.promote_types(input.dtype, torch.float32))
    axes = tuple(range(-len(tuple(normalized_shape)), 0))
    eps = torch.finfo(input.dtype).eps if eps is None else eps
    return _rescale(wide, axes, weight, None, eps).to(input.dtype)


def _rescale(vectors: Tensor, axes: tuple[int, ...], weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    scale = (vectors.detach().square().mean(dim=axes, keepdim=True) + eps).rsqrt()
    scaled = vectors * (scale if weight is None else scale * weight)
    return scaled if bias is None else scaled + bias


def _share_product(function: Function, input: Tensor | float, other: Tensor | float, **options: Any) -> Tensor:
    """A product that passes half of the gradient to each of its factors, if both depend on the input."""
    if not (_is_varying(input) and _is_varying(other)):
        return function(input, other, **options)
    return 0.5 * function(input, _detach(other)) + 0.5 * function(_detach(input), other)


def _hold_weights(function: Function, query: Tensor, key: Tensor, value: Tensor, *args: Any, **options: Any) -> Tensor:
    """Fused attention with its weights as constants, so that all gradient goes to the values."""
    options = {name: _detach(option) for name, option in options.items()}
    return function(query.detach(), key.detach(), value, *map(_detach, args), **options)


def _is_composed(module: nn.Module) -> bool:
    """Whether a module is an activation made of several functions, such as GPT-2's GELU, so that it is held whole."""
    kind = type(module)
    if kind.__module__ == "transformers.activations":
        return kind.__name__ in _COMPOSED or inspect.ismethod(getattr(module, "act", None))
    return kind.__name__.lower().endswith("gelu") and not kind.__module__.startswith("torch.")


_COMPOSED = frozenset(
    f"{name}Activation" for name in ("NewGELU", "FastGELU", "QuickGELU", "AccurateGELU", "ClippedGELU", "ReLUSquared")
)
"""Activations of transformers with f(0) = 0 that are always made of several functions; others are so by an option."""

_RULES: dict[Function, Function] = {
    **dict.fromkeys((F.softmax, torch.softmax, Tensor.softmax), _hold_value),
    # Of models that find answers: all answers together, which are never explained.
    **dict.fromkeys((torch.logsumexp, Tensor.logsumexp), _hold_value),
    **dict.fromkeys((torch.sigmoid, Tensor.sigmoid, F.sigmoid), _hold_value),
    **dict.fromkeys((torch.rsqrt, Tensor.rsqrt, torch.sqrt, Tensor.sqrt), _hold_value),
    **dict.fromkeys((torch.erf, Tensor.erf), _hold_value),  # of x (1 + erf(x)): a GELU written out
    **dict.fromkeys((F.gelu, F.silu, F.mish, F.elu, F.hardswish), _hold_slope),
    **dict.fromkeys((torch.tanh, Tensor.tanh, F.tanh), _hold_slope),
    **dict.fromkeys((F.layer_norm, torch.layer_norm), _hold_layer_norm_scale),
    **dict.fromkeys((F.rms_norm, torch.rms_norm), _hold_rms_norm_scale),
    **dict.fromkeys((torch.mul, Tensor.mul, Tensor.__mul__, Tensor.__rmul__, torch.multiply), _share_product),
    F.scaled_dot_product_attention: _hold_weights,
}
"""What takes the place of torch's functions; a ReLU's gradient is its slope as it is."""

_PRODUCTS = {
    **dict.fromkeys(("Mul", "Mm", "Bmm", "Mv", "Dot", "Linear", "Convolution", "GroupedMm"), (0, 1)),
    **dict.fromkeys(("Addmm", "Addbmm", "Baddbmm", "Addcmul"), (1, 2)),
}
"""Operations of autograd that are linear if no two of these inputs vary."""

_CONSTANT_INPUTS = {"Div": (1,)}
"""Operations that are linear if none of these inputs varies; of fused attention they are queries and keys."""

_LINEAR = frozenset(
    """
    AccumulateGrad Add Alias AsStrided Cat Clone ConstantPadNd Copy CopySlices Cumsum Diagonal Expand Flip Gather
    Index IndexAdd IndexPut IndexSelect LeakyRelu MaskedFill MaskedScatter MaskedSelect Max Maximum Mean Minimum
    MkldnnLinear Movedim Narrow NativeDropout Neg Permute PreluKernel Relu Repeat RepeatInterleave Reshape
    ReshapeAlias Roll Rsub Scatter ScatterAdd Select SelectScatter Slice SliceScatter Split SplitWithSizes Squeeze
    Stack Sub Sum T ToCopy Transpose Tril Triu Unbind Unfold UnsafeSplit UnsafeView Unsqueeze View Where
    """.split()  # noqa: SIM905 - a list of lines says no more
)
"""Operations of autograd that are linear, or that only choose, as ReLU and the maximum do."""
