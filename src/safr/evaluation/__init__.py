"""Scores per word in, proof out: what deleting the words that a score calls important does to accuracy."""
