"""Loads labelled texts from files, packages, archives or the hub, as a train, a dev and a test split."""

from safr.data.sources import DataStatus, Split, TextDataset, list_data, load_data

__all__ = ["DataStatus", "Split", "TextDataset", "list_data", "load_data"]
