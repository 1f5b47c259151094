"""Attribution: one score per word, from a model's internals, gradients or perturbations."""
