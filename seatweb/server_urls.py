"""Read DATABASE_URL and REDIS_URL. No message repeats a value from a URL, since it may be part of the password."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

DATABASE_EXAMPLE: Final = "postgresql://user:password@host/name"
REDIS_EXAMPLE: Final = "redis://host:6379/0"
CONNECT_SECONDS: Final = 5

# The parameters of libpq that the driver knows, with their allowed values where they have any; see
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
FILES: Final = ("sslcert", "sslkey", "sslrootcert", "sslcrl")
DRIVER_PARAMETERS: Final[Mapping[str, frozenset[str]]] = {
    **dict.fromkeys(("host", "port", "dbname", "user", "password", "passfile", "service"), frozenset()),
    **dict.fromkeys((*FILES, "sslpassword", "krbsrvname", "gsslib"), frozenset()),
    "sslmode": frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}),
    "sslnegotiation": frozenset({"postgres", "direct"}),
    "ssl_min_protocol_version": frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}),
    "ssl_max_protocol_version": frozenset({"TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"}),
    "target_session_attrs": frozenset({"any", "read-write", "read-only", "primary", "standby", "prefer-standby"}),
}
SESSION_PARAMETERS: Final = ("application_name", "options")  # sent to the server for each connection
# Those that the driver does not know, with the values that ask for nothing it does not do anyway.
NEEDLESS: Final[Mapping[str, frozenset[str]]] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"auto", "utf8", "utf-8", "UTF8", "UTF-8"}),
    "gssencmode": frozenset({"disable", "prefer"}),
    "load_balance_hosts": frozenset({"disable"}),
    "sslcompression": frozenset({"0"}),
    "sslsni": frozenset({"1"}),
    # Statements have a time limit, so a connection that is dead is noticed without these.
    **dict.fromkeys(("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"), frozenset()),
    **dict.fromkeys(("tcp_user_timeout", "fallback_application_name"), frozenset()),
}


@dataclass(frozen=True, slots=True)
class DatabaseUrl:
    """DATABASE_URL as the driver takes it, and its parts for messages."""

    dsn: str = field(repr=False)
    hosts: str
    user: str
    name: str
    session: Mapping[str, str] = field(repr=False)
    """What the URL sets for each session: `application_name`, `options`."""
    connect_seconds: int = CONNECT_SECONDS

    @classmethod
    def parse(cls, url: str) -> Self:
        """Return the parts of the URL; it has several hosts in libpq's form, `host1:port1,host2:port2`.

        Raises:
            ValueError: it cannot be used; the message says why.
        """
        parts = _split(url, {"postgresql", "postgres"}, DATABASE_EXAMPLE)
        given = _parameters(parts)
        account, _, hosts = parts.netloc.rpartition("@")
        user = unquote(account.partition(":")[0]) or given.get("user", "")
        hosts = hosts or given.get("host", "") or "localhost"
        _check_ports([*_ports_of(hosts), *given.get("port", "").split(",")])
        driver = {name: value for name, value in given.items() if name in DRIVER_PARAMETERS}
        return cls(
            dsn=f"{url.partition('?')[0]}?{urlencode(driver)}" if driver else url.partition("?")[0],
            hosts=unquote(hosts),
            user=user,
            name=unquote(parts.path.removeprefix("/")) or given.get("dbname", "") or user,
            session={name: given[name] for name in SESSION_PARAMETERS if name in given},
            connect_seconds=int(given.get("connect_timeout", CONNECT_SECONDS)),
        )


def check_redis_url(url: str) -> None:
    """Check that the URL names a Redis.

    Raises:
        ValueError: it does not; the message says why.
    """
    parts = _split(url, {"redis", "rediss", "unix"}, REDIS_EXAMPLE)
    _check_ports(_ports_of(parts.netloc.rpartition("@")[2]))
    database = parts.path.strip("/")
    if parts.scheme != "unix" and database and not database.isdecimal():
        raise ValueError(f"the database must be a number: {REDIS_EXAMPLE}")


def _split(url: str, schemes: set[str], example: str) -> SplitResult:
    scheme, separator, rest = url.partition("://")
    if scheme not in schemes or not separator:
        raise ValueError(f"must look like {example}")
    # The first of / # ? ends the user's name and password, so an @ behind it means that one of them was not encoded.
    netloc = rest[: min((rest.find(end) for end in "/#?" if end in rest), default=len(rest))]
    if (netloc and "@" in rest[len(netloc) :] and "@" not in netloc) or netloc.count("@") > 1 or "#" in rest:
        raise ValueError(
            "the password or user name has characters that must be percent-encoded "
            "('/' as %2F, '#' as %23, '?' as %3F, '@' as %40)"
        )
    try:
        return urlsplit(url)
    except ValueError:  # whose message would show a part of the URL
        raise ValueError(
            f"must look like {example}, with all characters but letters and digits percent-encoded"
        ) from None


def _ports_of(hosts: str) -> list[str]:
    """Return the ports in `host1:port1,host2:port2`; a path, or an IPv6 address in brackets, has colons of its own."""
    return [host.rpartition("]")[2].partition(":")[2] for host in hosts.split(",") if not host.startswith(("/", "%"))]


def _check_ports(ports: list[str]) -> None:
    if not all(port == "" or (port.isascii() and port.isdecimal() and 0 < int(port) < 65536) for port in ports):
        raise ValueError("a port must be a number from 1 to 65535")


def _parameters(parts: SplitResult) -> dict[str, str]:
    try:
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    except ValueError:
        raise ValueError("the parameters after '?' must look like name=value&name=value") from None
    if "database" in given:  # the driver's own name for it
        given.setdefault("dbname", given.pop("database"))
    for name, value in given.items():
        _check_parameter(name, value, may_show="password" not in given)
    return given


def _check_parameter(name: str, value: str, *, may_show: bool) -> None:
    if name in SESSION_PARAMETERS:
        return
    if name == "connect_timeout":
        if not (value.isascii() and value.isdecimal() and 0 < int(value) <= 60):
            raise ValueError("connect_timeout must be a number of seconds from 1 to 60")
    elif name in DRIVER_PARAMETERS:
        allowed = DRIVER_PARAMETERS[name]
        if value == "" or (allowed and value not in allowed):
            raise ValueError(f"{name} must be one of {', '.join(sorted(allowed))}" if allowed else f"{name} is empty")
        if name in FILES and not os.access(value, os.R_OK):
            raise ValueError(f"{name} names a file that does not exist or cannot be read")
    elif name in NEEDLESS:
        if NEEDLESS[name] and value not in NEEDLESS[name]:
            raise ValueError(f"{name} must be {' or '.join(sorted(NEEDLESS[name]))}; Seatweb supports nothing else")
    elif name == "hostaddr":
        raise ValueError("hostaddr is not supported; use the address as the host")
    else:
        which = f"the parameter {name!r}" if may_show and name.isidentifier() else "one of its parameters"
        known = sorted({*DRIVER_PARAMETERS, *SESSION_PARAMETERS, "connect_timeout"})
        raise ValueError(f"Seatweb does not know {which}; it knows {', '.join(known)}")
