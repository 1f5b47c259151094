"""Models: VMASK, the paper's transformer, and SAFR on any Hugging Face model."""
