"""What eventsourcing's recorder needs of the package `psycopg_pool`, an extra of its own: for one caller, a connection.

The recorder does everything else itself, so what is measured is the recorder.
"""

import contextlib
import sys
import types
from collections.abc import Iterator
from typing import Any, Generic, Self, TypeVar

CT = TypeVar("CT")


class ConnectionPool(Generic[CT]):
    """A pool of one."""

    def __init__(
        self, _conninfo: str = "", *, connection_class: Any, kwargs: dict[str, Any], configure: Any, **_: Any
    ) -> None:
        self._connect_now = lambda: connection_class.connect(**kwargs)
        self._configure = configure
        self._connection: Any = None

    def open(self, *_: Any, **__: Any) -> None:
        """Connect at the first use."""
        if self._connection is None:
            self._connection = self._connect_now()
            self._configure(self._connection)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Any]:
        """The one."""
        yield self._connection

    def close(self) -> None:
        """Close it."""
        if self._connection is not None:
            self._connection.close()

    @staticmethod
    def check_connection(_: Any) -> None:
        """It is there."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def install() -> None:
    """Stand in for the package where it is not installed."""
    package, names = types.ModuleType("psycopg_pool"), types.ModuleType("psycopg_pool.abc")
    errors = {name: type(name, (Exception,), {}) for name in ("PoolTimeout", "PoolClosed", "TooManyRequests")}
    package.__dict__.update(ConnectionPool=ConnectionPool, abc=names, __path__=[], **errors)
    names.__dict__.update(CT=CT, ConnectFailedCB=Any, ConninfoParam=Any, KwargsParam=Any)
    names.ConnectionCB = dict  # type: ignore[attr-defined] - anything that takes a parameter
    sys.modules.update({"psycopg_pool": package, "psycopg_pool.abc": names})
