"""`python -m safr` is the command `safr`."""

import sys

from safr.cli import main

sys.exit(main())
