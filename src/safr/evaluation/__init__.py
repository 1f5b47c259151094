"""Evaluation: SRS, faithfulness, plausibility, causal tests, and the benchmark of all of them."""
