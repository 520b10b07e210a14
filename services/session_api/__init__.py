"""The session API: the verbs of sessions and scenarios; schedules work over the broker."""
