"""What the use cases stand on: the processes that run SUMO, and the files of scenarios."""
