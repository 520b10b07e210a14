"""The report of a study: the answer, how sure it is, and where in the network the difference lies."""
