"""How four vectors share three directions."""

import torch

import safr

vectors = torch.tensor(
    [
        [1.0, 0.0, 0.0],  # alone on its direction
        [0.0, 1.0, 0.0],  # these two share one
        [0.0, 2.0, 0.0],
        [0.0, 0.0, 0.0],  # nowhere
    ]
)
print("interference\n", safr.interference(vectors))
print("polysemanticity", safr.polysemanticity(vectors))
print("capacity", safr.capacity(vectors))
