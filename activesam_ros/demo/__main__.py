"""`python -m activesam_ros.demo`."""

import sys

from activesam_ros.demo.run import main

if __name__ == "__main__":
    sys.exit(main())
