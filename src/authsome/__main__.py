"""`python -m authsome` is the command line."""

import sys

from authsome.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
