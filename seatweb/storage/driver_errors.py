"""Translate the PostgreSQL driver's errors into domain errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg
import structlog

from seatweb.errors import Constraints, InvalidInput, Overloaded

# Text with a null character, or that the database's encoding does not have. The driver reports half of a surrogate pair
# as a DataError too, caused by a UnicodeEncodeError; any other DataError is a bug in Seatweb.
UNSTORABLE: Final = (asyncpg.CharacterNotInRepertoireError, asyncpg.UntranslatableCharacterError)
# The driver raises InterfaceError for misuse, and also when the connection was lost or the pool is being closed.
LOST: Final = re.compile(r"(connection|pool) (is|was) clos(ed|ing)|released back to the pool")

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
            if isinstance(error, UNSTORABLE) or isinstance(error.__cause__, UnicodeEncodeError):
                raise InvalidInput from error
            raise  # a parameter of the wrong type, say
        except asyncpg.InterfaceError as error:
            if not LOST.search(str(error)):
                raise  # a missing parameter, say
            raise _unavailable(error) from error
        except (
            TimeoutError,
            OSError,
            asyncpg.QueryCanceledError,
            asyncpg.PostgresConnectionError,
            asyncpg.InsufficientResourcesError,
            asyncpg.OperatorInterventionError,
            asyncpg.InternalClientError,  # the server closed the connection mid-response
            asyncpg.ReadOnlySQLTransactionError,  # the server is a standby until the failover is complete
            asyncpg.LockNotAvailableError,
            asyncpg.InvalidCatalogNameError,  # the database is being restored
        ) as error:
            raise _unavailable(error) from error


def _unavailable(error: Exception) -> Overloaded:
    log.warning("the database is unavailable", error=type(error).__name__)
    return Overloaded()
