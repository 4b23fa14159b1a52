"""`python -m seatweb` does what the command `seatweb` does."""

import sys

from seatweb.cli import main

if __name__ == "__main__":  # worker processes import this file again
    sys.exit(main())
