"""What the errors of the PostgreSQL driver mean to the domains."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import asyncpg
import structlog

from seatweb.errors import Constraints, InvalidInput, Overloaded

log = structlog.get_logger(__name__)


class TryAgain(Exception):
    """The server rolled the transaction back and asks to run it again."""


class DriverErrors:
    """Turns the driver's exceptions into the domains'; `constraints` names the rules that the schema keeps."""

    def __init__(self, constraints: Constraints) -> None:
        self._constraints = constraints

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Translate what is raised inside. Unknown exceptions pass: they are bugs of ours.

        Raises:
            TryAgain: a deadlock, or a serialization failure.
            Overloaded: the server did not answer, or refused for lack of resources.
            InvalidInput: a value cannot be stored.
            SeatwebError: the rule that a constraint stands for.
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
            asyncpg.InternalClientError,  # the server closed the connection in the middle of an answer
            asyncpg.ReadOnlySQLTransactionError,  # a standby, until the failover is over
            asyncpg.LockNotAvailableError,
            asyncpg.InvalidCatalogNameError,  # the database is being restored
        ) as error:
            log.warning("database did not answer", error=type(error).__name__)
            raise Overloaded from error
