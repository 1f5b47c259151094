"""SAFR: transformers whose neurons say which words mattered.

Names are loaded when they are first used, so that `import safr` and `safr --help` stay light.
"""

__version__ = "0.1.0"
