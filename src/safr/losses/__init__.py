"""The losses that SAFR trains with."""

from safr.losses.importance import importance_loss, information_loss
from safr.losses.interaction import interaction_loss

__all__ = ["importance_loss", "information_loss", "interaction_loss"]
