"""What a study asks, and what its runs say: expressions, comparisons, ranking, racing. Pure."""
