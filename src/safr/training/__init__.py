"""Trains models: what can be known beforehand is checked, then the Hugging Face Trainer makes a run of the settings."""

from safr.training.trainer import train

__all__ = ["train"]
