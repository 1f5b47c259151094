"""Settings of the demonstration: one small transformer as a baseline, with VMASK alone, and with all of SAFR."""

from __future__ import annotations

from safr.config import Recipe, Regularization, Settings

EPOCHS = 8
LEARNING_RATE = 3e-4


def demo_settings(seed: int) -> dict[str, Settings]:
    """Settings by the name of the run: the paper's baseline, VMASK alone, and SAFR, on data that needs no download.

    The recipe is fast, so that all three runs take minutes on two cores: its learning rate is three times the paper's,
    and it has few epochs. Both were chosen on the dev split.
    """
    recipe = Recipe(seed=seed, epochs=EPOCHS, learning_rate=LEARNING_RATE)
    regularizations = {
        "baseline": Regularization(importance=0, interaction=0, vmask=False),
        "vmask": Regularization(importance=0, interaction=0),
        "safr": Regularization(importance=1, interaction=0.1),
    }
    return {
        name: Settings(regularization=regularization, recipe=recipe) for name, regularization in regularizations.items()
    }
