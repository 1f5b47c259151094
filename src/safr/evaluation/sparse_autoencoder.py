"""A small TopK sparse autoencoder of activations, and the number of effective features that it finds.

It is our own because the trainers of `sparsify` and `sae-lens` take a language model and its tokens, not an array of
activations, and because `sae-lens` would install some forty more packages.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy.typing import ArrayLike
from scipy.special import entr
from torch import Tensor, nn
from torch.nn import functional as F

from safr.errors import InputError

LATENTS_PER_NEURON = 4
"""Latents of the autoencoder for each neuron."""

ACTIVE_LATENTS = (1, 2, 4, 8, 16, 32, 64)
"""Numbers of latents that may be active for a token, of which the first that explains enough is taken."""

UNEXPLAINED = 0.1
"""Share of the variance that may be left over."""

STEPS = 1000
"""Steps of training."""

_BATCH_SIZE, _LEARNING_RATE = 256, 3e-3
_DEAD_AFTER = 50
"""Steps without activity after which a latent is dead."""


class SparseAutoencoder(nn.Module):
    r"""A TopK sparse autoencoder.

    $$z = \mathrm{TopK}(\mathrm{ReLU}(W_e (x - b) + c)), \quad \hat x = W_d z + b$$

    Source: Gao et al. 2024 (arXiv:2406.04093), eq. 1. The directions of the decoder, its rows here, have length 1.
    """

    scale: Tensor

    def __init__(self, neurons: int, latents: int, active: int) -> None:
        super().__init__()
        self.active = active
        self.decoder = nn.Parameter(torch.zeros(latents, neurons))
        self.encoder = nn.Parameter(torch.zeros(latents, neurons))
        self.bias = nn.Parameter(torch.zeros(latents))
        self.center = nn.Parameter(torch.zeros(neurons))
        self.register_buffer("scale", torch.ones(()))

    def encode(self, activations: Float[Tensor, "token neuron"]) -> Float[Tensor, "token latent"]:
        """Activations of the latents, (token, latent), at most `active` of each token above 0."""
        latents, indices = self._encode_active(activations.to(self.scale.dtype) / self.scale)
        return latents.new_zeros(len(latents), len(self.decoder)).scatter(1, indices, latents)

    def decode(self, latents: Float[Tensor, "token latent"]) -> Float[Tensor, "token neuron"]:
        """The activations of the neurons that the latents stand for."""
        return (latents @ self.decoder + self.center) * self.scale

    def forward(
        self, inputs: Float[Tensor, "token neuron"]
    ) -> tuple[Float[Tensor, "token neuron"], Float[Tensor, "token active"], Int[Tensor, "token active"]]:
        """The reconstruction of activations, and the active latents' activations and indices.

        Activations and reconstruction are in units of `scale`. It is what decoding the encoded gives, without the
        products with latents that are 0.
        """
        latents, indices = self._encode_active(inputs)
        decoded = F.embedding_bag(indices, self.decoder, per_sample_weights=latents, mode="sum")
        return decoded + self.center, latents, indices

    def unexplained_variance(self, activations: Float[Tensor, "token neuron"]) -> float:
        """Squared error as a share of the variance: 0 if every activation comes back, 1 if their mean does as well."""
        inputs = activations.to(self.scale.dtype) / self.scale
        return float((inputs - self(inputs)[0]).square().sum() / (inputs - inputs.mean(dim=0)).square().sum())

    def _encode_active(
        self, inputs: Float[Tensor, "token neuron"]
    ) -> tuple[Float[Tensor, "token active"], Int[Tensor, "token active"]]:
        # The center is taken off after the product: its gradient then needs no product of all tokens. That loses digits
        # where the center is some 1,000 times `scale`.
        latents = torch.relu(inputs @ self.encoder.T + (self.bias - self.encoder @ self.center))
        return latents.topk(self.active, dim=1)


@dataclass(frozen=True)
class EffectiveFeatures:
    """How many features a sparse autoencoder finds in the activations of some neurons."""

    features: float
    """F, the number of effective features, from 1 to the number of latents."""
    ratio: float
    """psi = F / N, effective features for each of the N neurons: above 1 they must share neurons."""
    active: int
    """Number of latents that may be active for a token."""
    unexplained: float
    """Share of the activations' variance that the autoencoder does not give back."""
    dead: float
    """Share of the latents that are active for no token."""


def train_sparse_autoencoder(
    activations: ArrayLike | Tensor,
    *,
    latents: int | None = None,
    active: int | None = None,
    steps: int = STEPS,
    seed: int = 0,
) -> SparseAutoencoder:
    """A TopK sparse autoencoder trained on activations by Adam, on batches of 256 tokens drawn anew.

    The loss is the squared error as a share of the batch's squared distance from the center, which begins at the median
    of every neuron. In the first half of the training, while more than 10 % are unexplained, a latent that was not
    active for 50 steps is pointed to what the others leave over of a token, as in Bricken et al. 2023.

    Args:
        activations: (token, neuron), at any site; values below 0 stay as they are.
        latents: Number of latents. Default: 4 for each neuron.
        active: Number of latents that may be active for a token. Default: the first of 1, 2, 4, 8, 16, 32 and 64 that
            leaves at most 10 % of the variance unexplained, found by bisection, or the last of them. With more than are
            needed one feature is split among several latents.
        steps: Number of batches.
        seed: Of the weights and the batches. The same seed gives the same autoencoder on one machine.

    Raises:
        InputError: Fewer than two tokens, activations that never change, a number that is NaN or infinite, or a number
            of latents, active ones or steps that makes no sense.
    """
    values = _read_activations(activations)
    latents = LATENTS_PER_NEURON * values.shape[1] if latents is None else latents
    if latents < 1 or (active is not None and not 1 <= active <= latents):
        raise InputError(f"expected at least 1 latent, and from 1 to all of them active, got {active} of {latents}")
    if steps < 1:
        raise InputError(f"expected at least 1 step, got {steps}")
    if active is not None:
        return _train(values, latents, active, steps, seed)
    counts, trained = [count for count in ACTIVE_LATENTS if count <= latents], dict[int, SparseAutoencoder]()

    def explains_enough(count: int) -> bool:
        trained[count] = _train(values, latents, count, steps, seed)
        return trained[count].unexplained_variance(values) <= UNEXPLAINED

    # More active latents explain more, so that not all numbers need be tried; the last one is taken as it is.
    first = counts[bisect_left(counts[:-1], True, key=explains_enough)]
    return trained.get(first) or _train(values, latents, first, steps, seed)


def effective_features(
    activations: ArrayLike | Tensor, autoencoder: SparseAutoencoder | None = None, *, seed: int = 0
) -> EffectiveFeatures:
    r"""Effective features: how many features the neurons hold, each counted by its share of the activation.

    $$F = \exp(-\sum_i p_i \ln p_i), \quad p_i = \sum_n z_{ni} / \sum_{nj} z_{nj}, \quad \psi = F / N$$

    $z$ are the latents of a sparse autoencoder of the activations. Source: Bereska et al. 2025, "Superposition as lossy
    compression" (arXiv:2512.13568). They train it with an L1 penalty; ours is TopK, with
    as many active latents as explain 90 % of the variance. A feature may still be split among latents, so that numbers
    are for comparing models of one width, read with what is unexplained.

    Args:
        activations: (token, neuron), at any site.
        autoencoder: Trained on these neurons. Default: one is trained on these activations.
        seed: Of the training.

    Raises:
        InputError: See `train_sparse_autoencoder`; or the autoencoder is one of another number of neurons, or none of
            its latents is active.
    """
    values = _read_activations(activations)
    if autoencoder is None:
        autoencoder = train_sparse_autoencoder(values, seed=seed)
    if autoencoder.decoder.shape[1] != values.shape[1]:
        raise InputError(f"expected {autoencoder.decoder.shape[1]} neurons, the autoencoder's, got {values.shape[1]}")
    batches = values.split(4096)
    mass = sum(autoencoder.encode(batch).double().sum(dim=0) for batch in batches)
    assert isinstance(mass, Tensor)
    weights = mass.numpy(force=True)
    if not weights.sum() > 0:
        raise InputError("expected an autoencoder with active latents, got none; train it on these activations")
    features = math.exp(entr(weights / weights.sum()).sum())
    unexplained = autoencoder.unexplained_variance(values)
    dead = float(np.mean(weights == 0))
    return EffectiveFeatures(features, features / values.shape[1], autoencoder.active, unexplained, dead)


def feature_shares(latents: Float[Tensor, "token latent"]) -> Float[Tensor, " token"]:
    r"""Share that each token has of the features' activation in its text.

    $$s_t = \sum_i z_{ti} / \sum_{si} z_{si}$$

    Our own definition, chosen on the dev split of `sst2_paper`; see `experiments/trials.md`.

    Args:
        latents: Activations of the latents at the tokens of one text, at least 0.

    Returns:
        In [0, 1] with the sum 1, (token,); 0 for all where no latent is active.
    """
    activity = latents.sum(dim=1)
    return activity / activity.sum().clamp_min(torch.finfo(activity.dtype).tiny)


def _read_activations(activations: ArrayLike | Tensor) -> Float[Tensor, "token neuron"]:
    values = activations.detach() if isinstance(activations, Tensor) else torch.from_numpy(np.asarray(activations))
    values = values.float()
    if values.dim() != 2 or len(values) < 2 or not values.shape[1]:
        raise InputError(
            f"expected activations of the shape (token, neuron) with at least 2 tokens, got {tuple(values.shape)}"
        )
    if not values.isfinite().all():
        raise InputError("expected finite activations, got NaN or infinity; has the training diverged?")
    if not (values != values[0]).any():
        raise InputError("expected activations that change from token to token, got the same for all")
    return values


@torch.inference_mode(mode=False)  # also where a caller has gradients off
@torch.enable_grad()
def _train(
    values: Float[Tensor, "token neuron"], latents: int, active: int, steps: int, seed: int
) -> SparseAutoencoder:
    generator = torch.Generator().manual_seed(seed)
    autoencoder = _initialize(values, latents, active, generator)
    inputs = values / autoencoder.scale
    optimizer = torch.optim.Adam(autoencoder.parameters(), lr=_LEARNING_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, 2 * (1 - step / steps)))
    idle = torch.zeros(latents, dtype=torch.int64, device=values.device)
    for step in range(steps):
        batch = inputs[torch.randint(len(inputs), (_BATCH_SIZE,), generator=generator).to(inputs.device)]
        decoded, codes, indices = autoencoder(batch)
        rest = batch - decoded
        loss = rest.square().sum() / (batch - autoencoder.center.detach()).square().sum().clamp_min(1e-12)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            autoencoder.decoder.copy_(F.normalize(autoencoder.decoder, dim=1))
        idle += 1
        idle[indices[codes > 0]] = 0
        if step < steps // 2 and float(loss.detach()) > UNEXPLAINED and (idle >= _DEAD_AFTER).any():
            _revive(autoencoder, optimizer, idle >= _DEAD_AFTER, rest.detach(), generator)
            idle[idle >= _DEAD_AFTER] = 0
    return autoencoder.requires_grad_(False)


def _initialize(
    values: Float[Tensor, "token neuron"], latents: int, active: int, generator: torch.Generator
) -> SparseAutoencoder:
    """An autoencoder with random directions, whose encoder is its decoder's transpose, as in Gao et al. 2024."""
    autoencoder = SparseAutoencoder(values.shape[1], latents, active).to(values.device)
    directions = torch.randn(latents, values.shape[1], generator=generator).to(values.device)
    with torch.no_grad():
        autoencoder.decoder.copy_(F.normalize(directions, dim=1))
        autoencoder.encoder.copy_(autoencoder.decoder)
        center = values.median(dim=0).values  # where neurons rest, so that no feature has to stand for it
        autoencoder.scale.copy_((values - center).square().mean().sqrt())
        autoencoder.center.copy_(center / autoencoder.scale)
    return autoencoder


@torch.no_grad()
def _revive(
    autoencoder: SparseAutoencoder,
    optimizer: torch.optim.Optimizer,
    dead: Bool[Tensor, " latent"],
    rest: Float[Tensor, "token neuron"],
    generator: torch.Generator,
) -> None:
    """Point dead latents to what the others leave over of tokens, drawn by the squares of what is left over."""
    squares = rest.square().sum(dim=1).cpu()
    rows = torch.multinomial(squares, int(dead.sum()), replacement=True, generator=generator).to(rest.device)
    autoencoder.decoder[dead] = autoencoder.encoder[dead] = F.normalize(rest[rows], dim=1)
    autoencoder.bias[dead] = 0.0
    for parameter in (autoencoder.decoder, autoencoder.encoder, autoencoder.bias):
        for moment in ("exp_avg", "exp_avg_sq"):
            optimizer.state[parameter][moment][dead] = 0.0
