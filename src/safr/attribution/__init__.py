"""A model and texts in, one score per word out."""
