"""What one forward pass showed: the narrow waist between the models and everything that reads them.

Axis names, one list for the whole project: `batch token query key head width neuron label layer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from safr.errors import InputError

SITES = ("embedding", "vmask", "attention", "fc1", "fc1_out", "fc2")
"""Named places in a network, in the order data flows; all but the first two are once per layer, as in `fc1.0`."""


@dataclass(frozen=True)
class Trace:
    """One forward pass over a batch, with only the sites that were asked for."""

    ids: Int[Tensor, "batch token"]
    """Token ids, padding included."""

    counting: Bool[Tensor, "batch token"]
    """True where a token counts: neither padding nor a special token."""

    logits: Float[Tensor, "batch *token label"] | None
    """The model's output, of a language model for every token; None for a model without a head."""

    keep: Float[Tensor, "batch token"] | None
    """VMASK's keep probabilities in [0, 1], before any sampling; None for a model without VMASK."""

    attention: Mapping[int, Float[Tensor, "batch head query key"]]
    """Attention weights by layer, before dropout."""

    vectors: Mapping[str, Float[Tensor, "batch token width"]]
    """Vectors by site: `embedding`, `vmask`, `fc1.0` (before the activation), `fc1_out.0` (after it), `fc2.0`, ..."""

    def site(self, name: str) -> Float[Tensor, "batch token width"]:
        """The vectors recorded at one site; an InputError lists the recorded ones if there are none."""
        if name not in self.vectors:
            raise InputError(f"no vectors at site '{name}'; recorded are: {', '.join(self.vectors) or 'none'}")
        return self.vectors[name]
