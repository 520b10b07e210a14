"""The command `milepost`: tables and progress for humans, JSON for programs."""
