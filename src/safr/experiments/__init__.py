"""Experiments: runs with many different settings, and the tables that compare them."""
