"""The settings: read once from environment variables, with all problems reported together."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeAlias
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from platformdirs import user_data_path
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)

from seatweb.server_urls import DatabaseUrl, check_redis_url

HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252}[A-Za-z0-9])?", re.ASCII)
SUB_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)*", re.ASCII)
CONTACT = re.compile(r"(mailto:[!-~]+@[!-~]+|tel:\+?[0-9-]+|https://[!-~]+)")  # RFC 9116, section 2.5.3
JWT_SECRET_MIN_BYTES = 32  # RFC 7518, section 3.2: an HS256 key must be at least as long as the hash
DEFAULT_PORT: Final = 8000
KNOWN_BAD_SECRETS = frozenset(
    {
        "mysectrekeywhichwillchange",
        "mysecretkeywhichwillchange",
        "your-256-bit-secret",
        "your-secret-key-change-in-production",
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7",  # FastAPI's tutorial
    }
)


UNITS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}
LIMIT: Final = re.compile(rf"([1-9][0-9]{{0,3}}|10000)/({'|'.join(UNITS)})", re.ASCII)

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


class SettingsError(Exception):
    """The environment is invalid; `problems` has one line for each problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Backends:
    """The URLs of PostgreSQL and Redis, and the signing secret: from the settings or from the data folder."""

    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    jwt_secret: str = field(repr=False)
    application: str = "seatweb"
    """The name of this server's sessions in PostgreSQL; a server with a Redis of its own has a name of its own."""


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` in any period of `seconds`."""

    count: int
    seconds: int

    def __str__(self) -> str:
        """Return the limit in the notation of the settings, such as `10/hour`."""
        unit = next(unit for unit, seconds in UNITS.items() if seconds == self.seconds)
        return f"{self.count}/{unit}"


def _read_limit(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value == "off":
        return None
    match = LIMIT.fullmatch(value)
    if match is None:
        raise ValueError("must look like 10/hour (1 to 10000 per second, minute, hour or day) or be off")
    return Limit(int(match[1]), UNITS[match[2]])


OptionalLimit: TypeAlias = Annotated[Limit | None, BeforeValidator(_read_limit)]


class Settings(BaseModel):
    """The operator's settings, frozen. Created with `Settings.from_environment`, never read at import."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    database_url: Annotated[
        SecretStr | None,
        Field(
            alias="DATABASE_URL",
            description="PostgreSQL 15 or newer, `postgresql://user:password@host/name`. "
            "Without it Seatweb runs its own.",
        ),
    ] = None
    redis_url: Annotated[
        SecretStr | None,
        Field(
            alias="REDIS_URL",
            description="Redis 7 or Valkey 8 or newer, `redis://host:6379/0`. Without it Seatweb runs its own, which "
            "only one server can use.",
        ),
    ] = None
    jwt_secret: Annotated[
        SecretStr | None,
        Field(
            alias="JWT_SECRET",
            description="Signs the session tokens; 32 bytes or more. To rotate secrets, list several, separated by "
            "commas: the first signs, all verify. Required with `DATABASE_URL`; otherwise generated and "
            "kept in the data folder.",
        ),
    ] = None
    host: Annotated[str, Field(alias="SEATWEB_HOST", description="Address to listen on.")] = "127.0.0.1"
    port: Annotated[int, Field(alias="SEATWEB_PORT", ge=1, le=65535, description="Port to listen on.")] = DEFAULT_PORT
    data_dir: Annotated[
        Path,
        Field(
            alias="SEATWEB_DATA_DIR",
            default_factory=lambda: user_data_path("seatweb"),
            description="Where Seatweb's own PostgreSQL and Redis keep their data. Defaults to the user's data "
            "folder; `make run` uses `data/` in the repository.",
        ),
    ]
    public_url: Annotated[
        str | None,
        Field(
            alias="SEATWEB_PUBLIC_URL",
            description="The URL people open, such as `https://seats.example.org` or `https://example.org/seats`. "
            "With HTTPS, cookies are Secure and passkeys work.",
        ),
    ] = None
    hosts: Annotated[
        str | None,
        Field(
            alias="SEATWEB_HOSTS",
            description="Additional host names that the site accepts, separated by commas. It always accepts the "
            "host of `SEATWEB_PUBLIC_URL`, `localhost` and IP addresses, and answers 421 for any other.",
        ),
    ] = None
    hsts_subdomains: Annotated[
        bool,
        Field(
            alias="SEATWEB_HSTS_SUBDOMAINS",
            description="Whether HSTS includes the subdomains of an HTTPS `SEATWEB_PUBLIC_URL` without a path. Set to "
            "`no` if one of them does not support HTTPS.",
        ),
    ] = True
    security_contact: Annotated[
        str | None,
        Field(
            alias="SEATWEB_SECURITY_CONTACT",
            description="Where to report a vulnerability, `mailto:security@example.org` or an HTTPS URL; published "
            "at `/.well-known/security.txt`.",
        ),
    ] = None
    time_zone: Annotated[
        str, Field(alias="SEATWEB_TIME_ZONE", description="The site's time zone; it determines what day it is.")
    ] = "UTC"
    workers: Annotated[int, Field(alias="SEATWEB_WORKERS", ge=1, le=64, description="Number of worker processes.")] = 1
    site_name: Annotated[
        str,
        Field(alias="SEATWEB_SITE_NAME", min_length=1, max_length=40, description="The name at the top of every page."),
    ] = "Seatweb"
    session_days: Annotated[
        int,
        Field(
            alias="SEATWEB_SESSION_DAYS",
            ge=1,
            le=365,
            description="Days until a session expires, even if it is in use.",
        ),
    ] = 14
    session_idle_hours: Annotated[
        int,
        Field(
            alias="SEATWEB_SESSION_IDLE_HOURS",
            ge=1,
            le=8760,
            description="Hours without a request until a session expires.",
        ),
    ] = 72
    access_minutes: Annotated[
        int,
        Field(
            alias="SEATWEB_ACCESS_MINUTES",
            ge=1,
            le=60,
            description="Minutes that a page's access token lasts; it is renewed automatically while the session is "
            "live.",
        ),
    ] = 10
    hold_seconds: Annotated[
        int,
        Field(
            alias="SEATWEB_HOLD_SECONDS",
            ge=5,
            le=900,
            description="Seconds that a seat stays on hold for the user who selected it.",
        ),
    ] = 90
    names: Annotated[
        Literal["signed-in", "nobody"],
        Field(
            alias="SEATWEB_NAMES",
            description="Who can see the names of people with a booking: `signed-in` users, or `nobody`.",
        ),
    ] = "signed-in"
    second_factor: Annotated[
        Literal["optional", "administrators", "everyone"],
        Field(
            alias="SEATWEB_SECOND_FACTOR",
            description="Who must use two-step sign-in: nobody (`optional`), `administrators` for the administration "
            "pages, or `everyone` for everything except viewing the map.",
        ),
    ] = "optional"
    keep_days: Annotated[
        int,
        Field(
            alias="SEATWEB_KEEP_DAYS",
            ge=1,
            le=36500,
            description="Days after which `seatweb prune` deletes a past booking.",
        ),
    ] = 365
    database_pool: Annotated[
        int, Field(alias="SEATWEB_DATABASE_POOL", ge=1, le=200, description="PostgreSQL connections per worker.")
    ] = 10
    password_min_length: Annotated[
        int | None,
        Field(
            alias="SEATWEB_PASSWORD_MIN_LENGTH",
            ge=1,
            le=128,
            description="Minimum length of a password. Defaults to 1 in demo mode and 8 in production.",
        ),
    ] = None
    cors_origins: Annotated[
        str | None,
        Field(
            alias="SEATWEB_CORS_ORIGINS",
            description="Origins whose pages may call the JSON API from a browser, separated by commas.",
        ),
    ] = None
    limit_failures_per_account: Annotated[
        OptionalLimit,
        Field(
            alias="SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ACCOUNT",
            description="Failed sign-ins per username, known or not, such as `10/hour`, or `off`. Existing sessions "
            "are not affected.",
        ),
    ] = Limit(10, 3600)
    limit_failures_per_address: Annotated[
        OptionalLimit,
        Field(
            alias="SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ADDRESS",
            description="Failed sign-ins per IP address (IPv6: per /64 network).",
        ),
    ] = Limit(30, 60)
    limit_registrations: Annotated[
        OptionalLimit,
        Field(alias="SEATWEB_LIMIT_REGISTRATIONS", description="Registrations per IP address."),
    ] = Limit(100, 3600)
    limit_holds: Annotated[
        OptionalLimit,
        Field(alias="SEATWEB_LIMIT_HOLDS", description="Holds per user."),
    ] = Limit(60, 60)
    limit_bookings: Annotated[
        OptionalLimit,
        Field(alias="SEATWEB_LIMIT_BOOKINGS", description="Attempts to book or move per user."),
    ] = Limit(60, 60)
    limit_requests: Annotated[
        OptionalLimit,
        Field(
            alias="SEATWEB_LIMIT_REQUESTS",
            description="JSON API requests per user, or per IP address if not signed in.",
        ),
    ] = None
    trusted_proxies: Annotated[
        str | None,
        Field(
            alias="SEATWEB_TRUSTED_PROXIES",
            description="IP addresses or networks of your reverse proxies, separated by commas; their "
            "`X-Forwarded-For` is trusted. `unix` for a proxy on a unix socket.",
        ),
    ] = None
    log_format: Annotated[
        Literal["auto", "console", "json"],
        Field(
            alias="SEATWEB_LOG_FORMAT",
            description="`console`, `json`, or `auto`: console on a terminal, JSON otherwise.",
        ),
    ] = "auto"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return the settings in the environment; an empty variable counts as not set.

        Raises:
            SettingsError: one or more variables are invalid.
        """
        names = {field.alias for field in cls.model_fields.values() if field.alias}
        problems = [
            f"{name} is not a Seatweb setting"
            for name in sorted(environment)
            if name.startswith("SEATWEB_") and not name.startswith("SEATWEB_TEST_") and name not in names
        ]
        given = {name: environment[name].strip() for name in names if environment.get(name, "").strip()}
        try:
            settings = cls.model_validate(given)
        except ValidationError as error:
            problems += [_problem(dict(detail)) for detail in error.errors(include_input=False, include_url=False)]
        else:
            if not problems:
                return settings
        raise SettingsError(problems)

    @field_validator("database_url")
    @classmethod
    def _readable_database_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            DatabaseUrl.parse(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _readable_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_redis_url(value.get_secret_value())
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _strong_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        ring = split_ring(value.get_secret_value())
        for number, secret in enumerate(ring, 1):
            which = f"number {number} " if len(ring) > 1 else ""
            if secret.lower() in KNOWN_BAD_SECRETS:
                raise ValueError(
                    f"{which}is a well-known example; generate your own, for instance with: openssl rand -base64 48"
                )
            if len(secret.encode()) < JWT_SECRET_MIN_BYTES or len(set(secret)) < 8:
                raise ValueError(
                    f"{which}is too weak; use {JWT_SECRET_MIN_BYTES} random bytes or more, "
                    "for instance from: openssl rand -base64 48"
                )
        return value

    @field_validator("public_url")
    @classmethod
    def _readable_public_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc or "?" in value:
            raise ValueError("must be a URL such as https://seats.example.org or https://example.org/seats")
        path = parts.path.removesuffix("/")
        if not SUB_PATH.fullmatch(path) or "#" in value:
            raise ValueError("has a path that is not like /seats or /tools/seats: letters, digits and -._~ only")
        usual = {"http": 80, "https": 443}[parts.scheme]
        port = f":{parts.port}" if parts.port not in {None, usual} else ""  # raises ValueError for an invalid port
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        return f"{parts.scheme}://{host}{port}{path}"

    @field_validator("hosts")
    @classmethod
    def _names_only(cls, value: str | None) -> str | None:
        for name in _listed(value):
            if not HOST_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a host name such as seats.example.org")
        return value

    @field_validator("security_contact")
    @classmethod
    def _contact(cls, value: str | None) -> str | None:
        if value is not None and not CONTACT.fullmatch(value):
            raise ValueError("must look like mailto:security@example.org or https://example.org/security")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _named_origins(cls, value: str | None) -> str | None:
        for origin in (value or "").split(","):
            parts = urlsplit(origin.strip())
            if origin.strip() and (parts.scheme not in {"http", "https"} or not parts.hostname or parts.path):
                raise ValueError(f"{origin.strip()!r} is not an origin such as https://intranet.example.org")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _named_proxies(cls, value: str | None) -> str | None:
        _split_proxies(value)
        return value

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f"{value!r} is not a time zone; use a name such as Europe/Paris") from None
        return value

    @field_validator("data_dir")
    @classmethod
    def _whole_path(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _secret_in_production(self) -> Self:
        if self.database_url is not None and self.jwt_secret is None:
            raise ValueError("JWT_SECRET is required with DATABASE_URL; generate one with: openssl rand -base64 48")
        return self

    @property
    def in_production(self) -> bool:
        """Whether this is a production installation (DATABASE_URL is set), not demo mode."""
        return self.database_url is not None

    @property
    def allowed_origins(self) -> list[str]:
        """The origins whose pages may use the API (CORS)."""
        return _listed(self.cors_origins)

    @property
    def host_names(self) -> list[str]:
        """Additional host names that the site accepts."""
        return _listed(self.hosts)

    @property
    def proxies(self) -> tuple[list[Network], bool]:
        """The networks of the trusted proxies, and whether the peer of a unix socket is trusted."""
        return _split_proxies(self.trusted_proxies)

    @property
    def zone(self) -> ZoneInfo:
        """The site's time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def origin(self) -> str | None:
        """The public URL without its path."""
        return self.public_url.removesuffix(self.base) if self.public_url else None

    @property
    def base(self) -> str:
        """The path of the public URL, such as `/seats`; empty if Seatweb has its host for itself."""
        return urlsplit(self.public_url).path if self.public_url else ""

    @property
    def secure_cookies(self) -> bool:
        """Whether cookies are Secure, because the public URL is HTTPS."""
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def cookie_port(self) -> int | None:
        """The port in the cookies' names: the public URL's or, in demo mode, our own; None for the usual ones.

        In production without a public URL it is not known which port people use: a proxy's, or each replica's own.
        """
        if self.public_url:
            return urlsplit(self.public_url).port
        return None if self.in_production or self.port == DEFAULT_PORT else self.port

    @property
    def shortest_password(self) -> int:
        """Minimum number of characters in a new password."""
        if self.password_min_length is not None:
            return self.password_min_length
        return 8 if self.in_production else 1


def split_ring(secrets: str) -> list[str]:
    """Return the signing secrets in `JWT_SECRET`; the first one signs."""
    return [secret.strip() for secret in secrets.split(",")]


def _listed(value: str | None) -> list[str]:
    """Return the items of a comma-separated setting."""
    return [one.strip() for one in (value or "").split(",") if one.strip()]


def _split_proxies(value: str | None) -> tuple[list[Network], bool]:
    names = _listed(value)
    networks = []
    for name in names:
        if name == "unix":
            continue
        try:
            network = ipaddress.ip_network(name)
        except ValueError:
            raise ValueError(f"{name!r} is not an address or network such as 10.0.0.5 or 10.0.0.0/24") from None
        if network.prefixlen == 0:
            raise ValueError(f"{name!r} trusts everyone, so any client could forge its address")
        networks.append(network)
    return networks, "unix" in names


def _problem(detail: dict[str, Any]) -> str:
    """Return one line for a pydantic error, without the value, which may be a secret."""
    message = str(detail["msg"]).removeprefix("Value error, ")
    where = ".".join(str(part) for part in detail["loc"])
    return f"{where}: {message}" if where else message
