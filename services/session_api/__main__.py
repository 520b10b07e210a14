"""`python -m session_api`."""

import os

# Rankings are made beside calls, of matrices too small for threads: those would spin for each other's turn.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from session_api.main import main

main()
