"""SAFR: transformers whose neurons say which words mattered.

The public names are in `__init__.pyi`, once. They are loaded when they are first used, so that `import safr` and
`safr --help` stay light.
"""

import lazy_loader

__version__ = "0.2.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
