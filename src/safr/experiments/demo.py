"""Settings of the demonstration: one small transformer as a baseline, with VMASK alone, and with all of SAFR."""

from __future__ import annotations

from safr.config import Recipe, Regularization, Settings

EPOCHS = 5
BATCH_SIZE = 16
LEARNING_RATE = 5e-4


def demo_settings(seed: int) -> dict[str, Settings]:
    """Settings by the name of the run: the paper's baseline, VMASK alone, and SAFR, on data that needs no download.

    The recipe is fast, so that all three runs take minutes on two cores: its learning rate begins at five times the
    paper's and falls to 0 in a few epochs, of small batches. All of it was chosen on the dev split.
    """
    recipe = Recipe(seed=seed, epochs=EPOCHS, batch_size=BATCH_SIZE, learning_rate=LEARNING_RATE, schedule="linear")
    regularizations = {
        "baseline": Regularization(importance=0, interaction=0, vmask=False),
        "vmask": Regularization(importance=0, interaction=0),
        "safr": Regularization(importance=1, interaction=0.1),
    }
    return {
        name: Settings(regularization=regularization, recipe=recipe) for name, regularization in regularizations.items()
    }
