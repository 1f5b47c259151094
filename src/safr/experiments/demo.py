"""Settings of the demonstration: one small transformer as a baseline, with VMASK alone, and with all of SAFR."""

from __future__ import annotations

from safr.config import Architecture, Recipe, Regularization, Settings

EPOCHS = 6
BATCH_SIZE = 16
LEARNING_RATE, EMBEDDING_LEARNING_RATE = 1e-3, 1e-2
WIDTH, FEED_FORWARD, VMASK_WIDTH = 128, 512, 256


def demo_settings(seed: int) -> dict[str, Settings]:
    """Settings by the name of the run: the paper's baseline, VMASK alone, and SAFR, on data that needs no download.

    The models are half as wide as the paper's and the recipe is fast, so that all three runs take minutes on two cores:
    the learning rate begins at ten times the paper's, that of the embeddings at a hundred times, and both fall to 0 in
    a few epochs of small batches. All of it was chosen on the dev split.
    """
    architecture = Architecture(width=WIDTH, feed_forward=FEED_FORWARD)
    recipe = Recipe(
        seed=seed,
        epochs=EPOCHS,
        batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        embedding_learning_rate=EMBEDDING_LEARNING_RATE,
        schedule="linear",
    )
    regularizations = {
        "baseline": Regularization(importance=0, interaction=0, vmask=False),
        "vmask": Regularization(importance=0, interaction=0, vmask_width=VMASK_WIDTH),
        "safr": Regularization(importance=0.5, interaction=0.5, vmask_width=VMASK_WIDTH),
    }
    return {
        name: Settings(architecture=architecture, regularization=regularization, recipe=recipe)
        for name, regularization in regularizations.items()
    }
