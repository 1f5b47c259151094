"""The demonstration's settings: the same small transformer three times, with more and more of SAFR on it."""

from __future__ import annotations

from safr.config import Recipe, Regularization, Settings

EPOCHS = 8
LEARNING_RATE = 3e-4


def demo_settings(seed: int) -> dict[str, Settings]:
    """Settings by name of the run: the paper's baseline, VMASK alone, and SAFR, on data that needs no download.

    The recipe is a fast one, so that all three take minutes on two cores: a learning rate three times the paper's
    and few epochs. Both were chosen on the dev split.
    """
    recipe = Recipe(seed=seed, epochs=EPOCHS, learning_rate=LEARNING_RATE)
    added = {
        "baseline": Regularization(importance=0, interaction=0, vmask=False),
        "vmask": Regularization(importance=0, interaction=0),
        "safr": Regularization(importance=1, interaction=0.1),
    }
    return {name: Settings(regularization=each, recipe=recipe) for name, each in added.items()}
