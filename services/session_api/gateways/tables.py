"""The tables of the session API.

`sessions`, `outcomes` and `studies` are projections of the logs and can be rebuilt from them; `results` saves time and
can be lost. `requests` and `study_requests` (idempotency keys), `scenarios`, `templates` and `quotas` are truths of
their own and are backed up. `admissions` and `uploads` say what was granted of quotas within the last minute and hour.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

requests = Table(
    "requests",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("session_id", String, nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("state", Integer, nullable=False),
    Column("pool", String, nullable=False),
    # Its class as the subjects of orders have it, priority included (runtime.work_queue).
    Column("work_class", String, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("create_time", DateTime, nullable=False),
    # A serialised milepost.session.v1.Session, FULL view.
    Column("resource", LargeBinary, nullable=False),
    # JSON: what the next event needs beside the resource (session_api.gateways.projected).
    Column("memory", Text, nullable=False),
    Column("deleted", Boolean, nullable=False),
    # When a deleted session goes for good.
    Column("purge_time", DateTime),
    # When a session that just stands has stood for too long.
    Column("idle_until", DateTime),
    # When it ended, and until when it wants to be kept, while it may be deleted for its age.
    Column("ended_at", DateTime),
    Column("kept_until", DateTime),
    # Files it has left: artifacts and state files.
    Column("stored_bytes", BigInteger, nullable=False),
    # Taken although the quota of sessions might be used up, and never claimed so far.
    Column("waits_for_quota", Boolean, nullable=False),
    # The study that its label names; empty: none.
    Column("study_id", String, nullable=False),
    Index("sessions_newest", "tenant", "create_time", "session_id"),
    Index("sessions_state", "state"),
    Index("sessions_ended_at", "ended_at"),
    Index("sessions_of_tenant", "tenant", "state"),
    Index("sessions_of_study", "tenant", "study_id", "create_time", "session_id"),
)

# What became of the commands of a session; goes with it.
outcomes = Table(
    "outcomes",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("command_id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("step", BigInteger, nullable=False),
    Column("sim_time_s", Float, nullable=False),
    Column("applied", Boolean, nullable=False),
    Column("message", String, nullable=False),
    Column("field", String, nullable=False),
)

# How far the projection has followed the store: one row.
feed = Table(
    "feed",
    metadata,
    Column("one", Integer, primary_key=True),
    Column("epoch", String, nullable=False),
    Column("stream_seq", BigInteger, nullable=False),
)

scenarios = Table(
    "scenarios",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("digest", String, primary_key=True),
    Column("create_time", DateTime, nullable=False),
    # A serialised milepost.scenario.v1.Scenario.
    Column("resource", LargeBinary, nullable=False),
    # Its files, together.
    Column("stored_bytes", BigInteger, nullable=False),
    Index("scenarios_newest", "tenant", "create_time", "digest"),
)

# Versions of templates.
templates = Table(
    "templates",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    # Of the scenario it is made of.
    Column("scenario_digest", String, nullable=False),
    # A serialised milepost.scenario.v1.Template. Null: deleted; the version of a name never means two things.
    Column("resource", LargeBinary),
    # The scenario, serialised, which may be off the list.
    Column("scenario", LargeBinary),
    # JSON: where in the files the values stand (session_api.gateways.templates_sql).
    Column("places", LargeBinary),
    Index("templates_of_scenario", "tenant", "scenario_digest"),
)

# What tenants may use; null: no limit. The tenant of the default is empty.
quotas = Table(
    "quotas",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("sessions", BigInteger),
    Column("slots", BigInteger),
    Column("stored_bytes", BigInteger),
    Column("uploads_per_hour", BigInteger),
    Column("upload_bytes_per_hour", BigInteger),
)

# Sessions that were granted and may not be in `sessions` yet: there, they are further than `seq`.
admissions = Table(
    "admissions",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("session_id", String, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    Column("noted", DateTime, nullable=False),
)

# Uploads of the last hour; with a digest: the scenario that was granted, which may not be in `scenarios` yet.
uploads = Table(
    "uploads",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("upload_id", String, primary_key=True),
    Column("begun", DateTime, nullable=False),
    Column("granted", DateTime),
    Column("digest", String, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
)

# Studies, for lists; each log is the truth of its study.
studies = Table(
    "studies",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("study_id", String, primary_key=True),
    Column("create_time", DateTime, nullable=False),
    # A value of milepost.study.v1.StudyState; 0: deleted, and its sessions may be left.
    Column("state", Integer, nullable=False),
    Column("seq", BigInteger, nullable=False),
    # A serialised milepost.study.v1.Study, BASIC view.
    Column("resource", LargeBinary, nullable=False),
    Index("studies_newest", "tenant", "create_time", "study_id"),
    Index("studies_state", "state"),
)

# Idempotency keys of requests that make studies, or end them; kept for ever.
study_requests = Table(
    "study_requests",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("request_id", String, primary_key=True),
    Column("study_id", String, nullable=False),
    Column("request_digest", LargeBinary, nullable=False),
)

# Results of runs that came to their end, by what they follow from (session_api.application.study.cell_key).
results = Table(
    "results",
    metadata,
    Column("tenant", String, primary_key=True),
    Column("key", String, primary_key=True),
    # A serialised milepost.session.v1.Session: its id, results, phases and execution.
    Column("resource", LargeBinary, nullable=False),
    Column("create_time", DateTime, nullable=False),
    # When it was asked for last, to the hour.
    Column("use_time", DateTime, nullable=False),
    Index("results_by_key", "key"),
    Index("results_use_time", "use_time"),
)
