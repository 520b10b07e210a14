"""Pure: states, verbs and what a log adds up to."""
