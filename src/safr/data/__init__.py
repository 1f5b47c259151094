"""Text comes in from files, packages, archives or the hub, and leaves as three splits of labelled texts."""

from safr.data.sources import DataStatus, Split, TextDataset, list_data, load_data

__all__ = ["DataStatus", "Split", "TextDataset", "list_data", "load_data"]
