"""Health checks for load balancers and monitoring."""

from __future__ import annotations

from asyncio import timeout
from typing import Annotated, Final, Literal

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.response import Response
from msgspec import Meta, Struct

from seatweb.booking.changes import CHANNEL
from seatweb.errors import Overloaded
from seatweb.storage.caching import TimedCache
from seatweb.storage.database import Database
from seatweb.storage.redis import NO_ANSWER, RedisClient

NO_STORE = {"cache-control": "no-store"}
PROBE_SECONDS: Final = 1.0  # a check may take this long and is valid this long; monitors ask again soon


class Health(Struct, frozen=True, omit_defaults=True):
    """The state of the servers. `degraded`: without Redis, seats cannot be held, and maps update a little later."""

    status: Annotated[
        Literal["ok", "degraded", "unavailable"],
        Meta(description="The overall state; `degraded` if only Redis cannot be used."),
    ]
    postgresql: Annotated[
        Literal["ok", "read-only", "unavailable"],
        Meta(description="Whether PostgreSQL responds and can be written to."),
    ]
    redis: Annotated[
        Literal["ok", "refusing", "unavailable"],
        Meta(description="Whether Redis responds and does what Seatweb needs."),
    ]
    migrations: Annotated[
        Literal["ok", "pending", "unknown"], Meta(description="Whether the database schema is up to date.")
    ]
    reason: Annotated[str, Meta(description="What is wrong, for the operator. Absent if everything works.")] = ""


class HealthCheck:
    """Checks PostgreSQL and Redis, at most once a second."""

    def __init__(self, database: Database, redis: RedisClient) -> None:
        self._database = database
        self._redis = redis
        self._cache = TimedCache(self._check, seconds=PROBE_SECONDS, entries=1)

    async def health(self) -> Health:
        """Return the state of the servers, at most a second old."""
        return await self._cache.get(None)

    async def _check(self, _: None) -> Health:
        trouble = await self._redis.trouble(CHANNEL)
        redis: Literal["ok", "refusing", "unavailable"]
        redis = "ok" if not trouble else "unavailable" if trouble == NO_ANSWER else "refusing"
        try:
            async with timeout(PROBE_SECONDS):
                state = await self._database.state()
        except (Overloaded, TimeoutError):
            return Health("unavailable", "unavailable", redis, "unknown", "PostgreSQL does not answer")
        migrations: Literal["ok", "pending"] = "ok" if state.migrated else "pending"
        if not state.writable:
            return Health("unavailable", "read-only", redis, migrations, "PostgreSQL is read-only")
        if not state.migrated:
            return Health("unavailable", "ok", redis, "pending", "the schema is not up to date")
        return Health("degraded" if trouble else "ok", "ok", redis, "ok", trouble)


class HealthController(Controller):
    """Readiness and liveness checks."""

    path = "/health"
    opt = {"for_programs": True}  # noqa: RUF012
    tags = ["Health"]  # noqa: RUF012
    security = []  # noqa: RUF012

    @get(
        "/",
        operation_id="getHealth",
        responses={
            503: ResponseSpec(
                Health,
                description="PostgreSQL does not respond or is read-only, or migrations are pending.",
                generate_examples=False,
            )
        },
    )
    async def ready(self, health_check: NamedDependency[HealthCheck]) -> Response[Health]:
        """Return 200 if requests can be served; 503 if the database cannot be used or migrations are pending."""
        health = await health_check.health()
        if health.status == "unavailable":
            return Response(health, status_code=503, headers=NO_STORE | {"retry-after": "2"})
        return Response(health, headers=NO_STORE)

    @get("/live", operation_id="getLiveness")
    async def live(self) -> Response[dict[str, str]]:
        """Return 200 while the process runs; asks neither PostgreSQL nor Redis."""
        return Response({"status": "ok"}, headers=NO_STORE)
