"""The losses that SAFR trains with, and those of others on the same neurons."""

from safr.losses.decorrelation import decorrelation_loss
from safr.losses.importance import importance_loss, information_loss
from safr.losses.interaction import interaction_loss
from safr.losses.l1 import l1_loss
from safr.losses.l1_l2 import l1_l2_loss
from safr.losses.monosemanticity import monosemanticity_loss
from safr.losses.neurons import NeuronLoss
from safr.losses.token_entropy import token_entropy_loss

__all__ = [
    "NEURON_LOSSES",
    "decorrelation_loss",
    "importance_loss",
    "information_loss",
    "interaction_loss",
    "l1_l2_loss",
    "l1_loss",
    "monosemanticity_loss",
    "token_entropy_loss",
]

NEURON_LOSSES: dict[str, NeuronLoss] = {
    "decorrelation": decorrelation_loss,
    "l1": l1_loss,
    "l1_l2": l1_l2_loss,
    "monosemanticity": monosemanticity_loss,
    "token_entropy": token_entropy_loss,
}
"""Losses on the activations of FC1, by the name that `Regularization(neuron_losses=)` gives them.

Each is a function of the activations (batch, token, neuron), the tokens' ids and the mask of those that count, which
returns one number. One of your own is another entry."""
