"""`python -m session_api`."""

from session_api.main import main

main()
