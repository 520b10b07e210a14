"""`python -m milepost` is the command `milepost`."""

from milepost.cli.main import app

app()
