"""Entry point of the set-up, for tools/setup.sh."""

import sys

from devsetup.main import main

if __name__ == "__main__":
    sys.exit(main())
