"""What a gradient in closed form asks of whoever takes it."""

import torch

from safr.errors import InputError


def check_differentiated_once() -> None:
    """Refuse, in a backward pass, to be differentiated again: the closed form would count as a constant there."""
    if torch.is_grad_enabled():
        raise InputError("SAFR's losses can be differentiated once; keep them out of what create_graph=True reaches")
