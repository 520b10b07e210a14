"""Structured logs: one JSON object a line on standard error, fixed text, values as keys."""

import logging
import sys

import structlog

from runtime import traces


def configure_logs(*, service: str, level: str) -> None:
    """Set structlog up for this process; every line carries `service`."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            _add_trace,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=False,
    )
    structlog.contextvars.bind_contextvars(service=service)
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(name)s: %(message)s")


def _add_trace(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """A line written in a traced task says which trace that is."""
    if here := traces.current():
        event["trace_id"] = here.split("-")[1]
    return event
