"""`python -m sim_worker.child.check_installation`: can SUMO run here? Names the system packages that are missing."""

import sys

from sim_worker.child.libsumo_engine import IMPORT_FAILURE
from sim_worker.child.zygote import missing_packages


def main() -> int:
    """0 when libsumo can be used, 1 and a sentence on standard error when it cannot."""
    if IMPORT_FAILURE:
        sys.stderr.write(f"libsumo cannot be used: {missing_packages(IMPORT_FAILURE)}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
