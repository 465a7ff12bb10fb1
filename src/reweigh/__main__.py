"""`python -m reweigh`."""

import sys

from reweigh.cli import main

if __name__ == "__main__":
    sys.exit(main())
