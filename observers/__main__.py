"""``python -m observers``: the ``understudy`` command, where its script is not on the path."""

import sys

from observers.cli import main

if __name__ == "__main__":
    sys.exit(main())
