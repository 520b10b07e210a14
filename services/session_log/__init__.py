"""The session log: what its records are, what they add up to, how it is written and read.

`domain/` is pure (states, verbs, the fold); `codec` translates between records on the broker and events;
`writer` appends under the fence (log.md R1–R3); `broker_log` reads what the broker still holds.
"""
