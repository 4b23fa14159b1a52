"""The composition root: create every object and pass it to those that need it. Only `seatweb.server` imports it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import date, datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any, Final, TypeVar

import structlog
from litestar import Litestar, Request, Router, get, route
from litestar.config.compression import CompressionConfig
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import InternalServerException
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath
from litestar.response import Response
from litestar.routes import HTTPRoute
from litestar.types import ASGIApp

from seatweb.accounts import errors as account_errors
from seatweb.accounts.administration import AccountAdministration
from seatweb.accounts.failed_sign_ins import FailedSignIns
from seatweb.accounts.passkeys import Passkeys
from seatweb.accounts.password_checks import PasswordChecks
from seatweb.accounts.password_resets import PasswordResets, ResetCodes
from seatweb.accounts.passwords import PasswordRules, Passwords
from seatweb.accounts.registration import Registration
from seatweb.accounts.second_factor import SecondFactors
from seatweb.accounts.sessions import Sessions
from seatweb.accounts.sign_in import SignInFlow
from seatweb.accounts.usernames import username_skeletons
from seatweb.api import problems
from seatweb.api.accounts import AuthController, MeController
from seatweb.api.bookings import BookingController
from seatweb.api.health import HealthCheck, HealthController
from seatweb.api.openapi import document, openapi_config, openapi_json
from seatweb.api.requests import ApiGuard
from seatweb.api.seats import SeatController
from seatweb.api.site import SiteController
from seatweb.booking import errors as booking_errors
from seatweb.booking.bookings import Bookings
from seatweb.booking.changes import Changes
from seatweb.booking.day_views import DayViews
from seatweb.booking.hold_store import HoldStore
from seatweb.booking.holds import Holds
from seatweb.booking.live import Live
from seatweb.booking.month import FreeCounts
from seatweb.booking.requests import BookingRequests
from seatweb.booking.section_cache import SectionCache
from seatweb.booking.undo import Undo
from seatweb.booking.window import BookingWindow
from seatweb.disabled_accounts import DisabledAccounts
from seatweb.errors import Constraints, Forbidden, NotAllowed
from seatweb.http.client_address import Proxies
from seatweb.http.compression import Compression
from seatweb.http.cookies import Cookies, OwnCookies, send_cookies
from seatweb.http.csrf import Csrf
from seatweb.http.deadline import Deadline
from seatweb.http.headers import FILE_HEADERS, HEADERS, strict_transport
from seatweb.http.hosts import Hosts
from seatweb.http.identity import Identities
from seatweb.http.logs import configure_logging
from seatweb.http.methods import send_allowed_methods
from seatweb.http.sub_path import SubPath
from seatweb.http.telemetry import Telemetry
from seatweb.http.tokens import Tokens
from seatweb.limits.keyed_hash import KeyedHash
from seatweb.limits.limits import Limits, Rules
from seatweb.personal_data import PersonalData
from seatweb.settings import Backends, Settings, split_ring
from seatweb.storage.database import Database
from seatweb.storage.outbox import RedisOutbox
from seatweb.storage.redis import RedisClient
from seatweb.web.account.own_account import AccountController
from seatweb.web.account.password_reset import PasswordResetController
from seatweb.web.account.responses import SignInResponses
from seatweb.web.account.second_factor import SecondFactorController
from seatweb.web.account.second_step import SecondStepController
from seatweb.web.account.sign_in import SignInController
from seatweb.web.admin.people import AdminController
from seatweb.web.api_docs import documentation
from seatweb.web.errors import error_response
from seatweb.web.map.calendar import CalendarController
from seatweb.web.map.day_page import MapReader
from seatweb.web.map.frames import DayPages
from seatweb.web.map.handlers import DayController
from seatweb.web.map.intents import Intents
from seatweb.web.map.my_bookings import BookingList, MyBookingsController
from seatweb.web.map.responses import MapResponses
from seatweb.web.map.sections import Sections
from seatweb.web.map.stream import Streams, live_map
from seatweb.web.map.warm import WarmPages
from seatweb.web.map.week_strip import WeekStrip
from seatweb.web.rendering import BROTLI_QUALITY, Renderer
from seatweb.web.requests import FOR_EVERYONE, PageGuard, PageNotFound
from seatweb.web.static_files import static_router
from seatweb.web.well_known import robots, security_txt

R = TypeVar("R")

log = structlog.get_logger(__name__)

CONSTRAINTS: Constraints = {**account_errors.CONSTRAINTS, **booking_errors.CONSTRAINTS}
# For pages: Brotli for browsers that accept it (over HTTPS, they do), gzip for the others.
COMPRESSION: Final = CompressionConfig("brotli", brotli_quality=BROTLI_QUALITY, gzip_compress_level=6)
COMPRESSED: Final = DefineMiddleware(Compression, config=COMPRESSION)
LARGEST_BODY: Final = 16 * 1024  # bytes; forms need a few hundred, a passkey's response 2,000


def create_app(
    settings: Settings,
    backends: Backends,
    today: Callable[[], date] | None = None,
    at_end: Callable[[Callable[[], None]], None] | None = None,
    passwords: Passwords | None = None,
) -> ASGIApp:
    """Return the ASGI application.

    `today` replaces the clock and returns the current day. `at_end` receives a function that ends the open streams;
    call it in the event loop when the process is asked to stop, since streams never end by themselves.
    `passwords` hashes and verifies passwords instead of a `Passwords` with the parameters that OWASP recommends.
    """
    log_request = configure_logging(settings.log_format)
    secrets = split_ring(backends.jwt_secret)
    tokens = Tokens(secrets, access=timedelta(minutes=settings.access_minutes))
    our_cookies = Cookies(tokens, secure=settings.secure_cookies, port=settings.cookie_port, base=settings.base)
    csrf = Csrf(secrets, our_cookies, settings.public_url)
    identities = Identities(tokens, our_cookies)
    renderer = Renderer(our_cookies, csrf, settings.site_name, settings.public_url, settings.base, settings.zone)
    rules = PasswordRules(
        shortest=settings.shortest_password,
        refuse_common=settings.in_production,
        site_words=("seatweb", settings.site_name, settings.site_name.replace(" ", "")),
    )

    database = Database(
        backends.database_url, CONSTRAINTS, size=settings.database_pool, application=backends.application
    )
    redis = RedisClient(backends.redis_url)
    outbox = RedisOutbox(redis)
    limits, failed_sign_ins = _limits(settings, secrets, database, redis)

    passwords = passwords or Passwords()
    sessions = Sessions(
        database,
        days=settings.session_days,
        idle_hours=settings.session_idle_hours,
        factor_needed=settings.second_factor == "everyone",
    )
    password_checks = PasswordChecks(database, passwords, sessions, failed_sign_ins, rules)
    factors = SecondFactors(database, passwords, settings.site_name, needed=sessions.factor_needed)
    passkeys = Passkeys(database)

    window = BookingWindow(today or (lambda: datetime.now(settings.zone).date()))
    changes = Changes(redis, outbox)
    hold_store = HoldStore(redis, outbox, settings.hold_seconds)
    views = DayViews(database, SectionCache(redis), hold_store, changes, window)
    bookings = Bookings(database, views, hold_store, changes, window, limits)
    undo = Undo(database, hold_store, limits, bookings)
    live = Live(views, window, changes)

    page_guard = PageGuard(identities, our_cookies, csrf, sessions, factors)
    reader = MapReader(views, window, names=settings.names == "signed-in")
    sections = Sections(renderer.environment)
    week_strip = WeekStrip(renderer.environment)
    day_pages = DayPages(renderer, csrf, sections, week_strip)
    responses = MapResponses(views, reader, renderer, sections, week_strip, day_pages, undo)

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        loading = asyncio.create_task(asyncio.to_thread(_load_tables, rules))
        async with database, redis, outbox, changes, live, sessions.following(lambda: live.sessions, live.end_sessions):
            await sessions.mark_enrolling()
            if at_end:
                at_end(live.close)
            try:
                yield
            finally:
                passwords.close()
                await loading

    administration = AccountAdministration(database, sessions)
    app = Litestar(
        route_handlers=[
            _pages(page_guard),
            _api(ApiGuard(tokens, sessions, limits if settings.limit_requests else None)),
            # Not compressed: compression would buffer events.
            Router("/", route_handlers=[live_map], before_request=_wrapped(page_guard.check), include_in_schema=False),
            HealthController,
            Router("/", route_handlers=[openapi_json], middleware=[COMPRESSED]),
            static_router(renderer.addresses),
            robots,
            security_txt,
            missing_any,
        ],
        cors_config=CORSConfig(
            allow_origins=settings.allowed_origins,
            allow_methods=["GET", "POST", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "If-None-Match"],
            expose_headers=["ETag", "Link", "Retry-After", "X-Request-Id", "Idempotency-Replayed"],
        )
        if settings.allowed_origins
        else None,
        dependencies={
            name: _provide(part)
            for name, part in {
                "settings": settings,
                "tokens": tokens,
                "our_cookies": our_cookies,
                "renderer": renderer,
                "rules": rules,
                "health_check": HealthCheck(database, redis),
                "registration": Registration(database, passwords, sessions, limits, rules),
                "password_checks": password_checks,
                "sessions": sessions,
                "administration": administration,
                "disabled_accounts": DisabledAccounts(database, administration, changes.signal, window.today),
                "personal_data": PersonalData(database, password_checks, sessions, changes, window.today),
                "factors": factors,
                "passkeys": passkeys,
                "sign_in_flow": SignInFlow(database, sessions, password_checks, factors, passkeys),
                "password_resets": PasswordResets(database, passwords, sessions, failed_sign_ins, rules),
                "reset_codes": ResetCodes(database),
                "window": window,
                "views": views,
                "free_counts": FreeCounts(database, window),
                "bookings": bookings,
                "booking_list": BookingList(bookings, window, renderer),
                "undo": undo,
                "booking_requests": BookingRequests(database, bookings, window),
                "holds": Holds(database, hold_store, changes, window, limits),
                "live": live,
                "reader": reader,
                "sections": sections,
                "responses": responses,
                "sign_in_responses": SignInResponses(
                    settings, renderer, rules, sessions, factors, our_cookies, Intents(views, window)
                ),
                "streams": Streams(reader, sections, week_strip),
            }.items()
        }
        | {"api_document": Provide(lambda: api_document(window.today()), sync_to_thread=False)},
        exception_handlers={Exception: lambda request, error: _error_response(renderer, request, error)},
        middleware=[DefineMiddleware(Deadline)],
        before_send=[send_cookies, send_allowed_methods],
        lifespan=[lifespan],
        request_max_body_size=LARGEST_BODY,
        openapi_config=openapi_config(settings.base),
        state=State({"base": settings.base}),
        logging_config=None,
    )
    api_document = lru_cache(1)(partial(document, app))
    https = strict_transport(settings)
    warm = WarmPages(OwnCookies(app), identities, sessions, window, reader, sections, day_pages)
    hosts = Hosts(settings.public_url, settings.host_names)
    site = Telemetry(warm, HEADERS | https, FILE_HEADERS | https, log_request, _proxies(settings), hosts)
    return SubPath(site, settings.base) if settings.base else site


def _load_tables(rules: PasswordRules) -> None:
    """Load the tables that registration needs, so that the first person to register need not wait."""
    username_skeletons("anna")
    rules.problem("correct horse battery", "anna")


def _pages(page_guard: PageGuard) -> Router:
    return Router(
        "/",
        route_handlers=[
            DayController,
            CalendarController,
            MyBookingsController,
            SignInController,
            AccountController,
            AdminController,
            PasswordResetController,
            SecondStepController,
            SecondFactorController,
            documentation,
            missing,
        ],
        before_request=_wrapped(page_guard.check),
        include_in_schema=False,
        middleware=[COMPRESSED],  # safe against BREACH: CSRF tokens differ in every response
    )


def _api(api_guard: ApiGuard) -> Router:
    return Router(
        "/",
        route_handlers=[AuthController, MeController, SeatController, BookingController, SiteController],
        before_request=_wrapped(api_guard.check),
        security=[{"bearer": []}],
        opt={"for_programs": True},
    )


def _proxies(settings: Settings) -> Proxies:
    networks, unix = settings.proxies
    return Proxies(networks, unix=unix)


def _limits(
    settings: Settings, secrets: list[str], database: Database, redis: RedisClient
) -> tuple[Limits, FailedSignIns]:
    def now() -> datetime:
        return datetime.now(settings.zone)

    keyed_hash = KeyedHash(secrets[-1])
    rules = Rules(
        registrations=settings.limit_registrations,
        holds=settings.limit_holds,
        bookings=settings.limit_bookings,
        requests=settings.limit_requests,
    )
    failed_sign_ins = FailedSignIns(
        database,
        keyed_hash,
        per_account=settings.limit_failures_per_account,
        per_address=settings.limit_failures_per_address,
        now=now,
    )
    return Limits(redis, rules, keyed_hash, workers=settings.workers, now=now), failed_sign_ins


ANY_PATH: Final = frozenset({"/{path:path}"})
PROGRAM_TYPES: Final = frozenset({"application/json", problems.PROBLEM_JSON})
CLIENT_DISCONNECTED: Final = "client disconnected prematurely"  # Litestar's message


def _error_response(renderer: Renderer, request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    """Return the response to a failed request: problem+json for programs, a page for people."""
    if isinstance(error, Forbidden | NotAllowed):
        session = request.state.get("session")
        log.warning("refused", code=str(error), user_id=session.user.id if session else None)
    if isinstance(error, InternalServerException) and error.detail == CLIENT_DISCONNECTED:
        return Response("", status_code=400)  # the client is gone, so nobody reads this; the error is not ours
    return (
        problems.problem_response(request, error)
        if _is_for_programs(request)
        else error_response(renderer, request, error)
    )


def _is_for_programs(request: Request[Any, Any, Any]) -> bool:
    """Return whether the request is to the API.

    For unknown paths, return whether an API route has the same first segment, or a program seems to be asking.
    """
    handler = request.scope.get("route_handler")
    if handler and handler.paths.isdisjoint(ANY_PATH):
        return bool(handler.opt.get("for_programs"))
    if _first_segment(request.url.path) in _api_segments(request.app) or "authorization" in request.headers:
        return True
    return request.accept.best_match(["text/html", "application/json", problems.PROBLEM_JSON]) in PROGRAM_TYPES


def _first_segment(path: str) -> str:
    return path.partition("/")[2].partition("/")[0].partition(".")[0]


@cache
def _api_segments(app: Litestar) -> frozenset[str]:
    """Return the first path segment of every API route, such as `bookings`."""
    return frozenset(
        _first_segment(route.path)
        for route in app.routes
        if isinstance(route, HTTPRoute) and any(handler.opt.get("for_programs") for handler in route.route_handlers)
    )


@get("/{path:path}", include_in_schema=False, opt=FOR_EVERYONE)
async def missing(path: FromPath[str]) -> Response[str]:  # noqa: ARG001 - the route needs it
    """Answer 404 for unknown paths, after identifying the visitor."""
    raise PageNotFound


@route("/{path:path}", http_method=["POST", "PUT", "PATCH", "DELETE"], include_in_schema=False)
async def missing_any(path: FromPath[str]) -> None:  # noqa: ARG001 - the route needs it
    """Answer 404 for other methods on unknown paths, before the CSRF check."""
    raise PageNotFound


def _provide(part: object) -> Provide:
    """Return a provider of the object, as a closure: Litestar deep-copies everything in a route except functions."""
    return Provide(lambda: part, sync_to_thread=False)


def _wrapped(method: Callable[[R], Awaitable[None]]) -> Callable[[R], Awaitable[None]]:
    """Wrap a method in a function, for the same reason as `_provide`."""

    async def call(request: R) -> None:
        await method(request)

    return call
