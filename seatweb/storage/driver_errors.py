"""Translate the PostgreSQL driver's errors into domain errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import structlog

from seatweb.errors import Constraints, InvalidInput, Overloaded

log = structlog.get_logger(__name__)


class TryAgain(Exception):
    """The server rolled the transaction back; it may succeed if it runs again."""


class DriverErrors:
    """Turns the driver's exceptions into domain errors; `constraints` maps the schema's constraints to errors."""

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate exceptions raised inside. Unknown ones pass through: they are bugs in Seatweb.

        Raises:
            TryAgain: a deadlock, or a serialization failure.
            Overloaded: the server did not answer, or refused for lack of resources.
            InvalidInput: a value cannot be stored.
            SeatwebError: a constraint was violated.
        """
        try:
            yield
        except asyncpg.IntegrityConstraintViolationError as error:
            rule = self._constraints.get(error.constraint_name or "")
            if rule is None:
                raise
            raise rule() from error
        except (asyncpg.DeadlockDetectedError, asyncpg.SerializationError) as error:
            raise TryAgain from error
        except asyncpg.DataError as error:
            raise InvalidInput from error
        except (
            TimeoutError,
            OSError,
            asyncpg.QueryCanceledError,
            asyncpg.PostgresConnectionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.OperatorInterventionError,
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,  # the server closed the connection mid-response
            asyncpg.ReadOnlySQLTransactionError,  # the server is a standby until the failover is complete
            asyncpg.LockNotAvailableError,
            asyncpg.InvalidCatalogNameError,  # the database is being restored
        ) as error:
            log.warning("database unavailable", error=type(error).__name__)
            raise Overloaded from error
