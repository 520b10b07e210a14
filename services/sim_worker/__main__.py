"""`python -m sim_worker`."""

from sim_worker.main import main

main()
