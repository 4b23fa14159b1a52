"""Settings: all problems are reported at once, secrets are never shown, and docs/settings.md matches the code."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import quote

import pytest
from seatweb.settings import Limit, Settings, SettingsError

GOOD = "k7Qd0vJr1mZp8sXw4tYb6nEh3uGf9aLc"
ROOT = Path(__file__).parents[2]


def problems(**environment: str) -> list[str]:
    with pytest.raises(SettingsError) as error:
        Settings.from_environment(environment)
    return error.value.problems


def test_without_settings_demo_mode_is_on() -> None:
    settings = Settings.from_environment({"PATH": "/usr/bin", "DATABASE_URL": "", "SEATWEB_PORT": " "})
    assert not settings.in_production
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.shortest_password == 1
    assert not settings.secure_cookies


def test_in_production_passwords_are_longer_and_https_makes_cookies_secure() -> None:
    settings = Settings.from_environment(
        {
            "DATABASE_URL": "postgresql://seatweb:hush-hush@db/seatweb",
            "JWT_SECRET": GOOD,
            "SEATWEB_PUBLIC_URL": "https://seats.example.org/",
        }
    )
    assert settings.in_production
    assert settings.shortest_password == 8
    assert settings.secure_cookies
    assert settings.public_url == "https://seats.example.org"
    assert "hush" not in repr(settings)
    assert GOOD not in repr(settings)


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        SEATWEB_PORT="http",
        SEATWEB_TIME_ZONE="Mars/Olympus",
        SEATWEB_WORKERS="0",
        SEATWEB_COLOUR="green",
        DATABASE_URL="mysql://db/x",
        REDIS_URL="db:6379",
        JWT_SECRET="short",
        SEATWEB_PUBLIC_URL="seats.example.org",
        SEATWEB_LIMIT_HOLDS="many",
        SEATWEB_TRUSTED_PROXIES="*",
    )
    for name in (
        "SEATWEB_PORT", "SEATWEB_TIME_ZONE", "SEATWEB_WORKERS", "SEATWEB_COLOUR", "DATABASE_URL", "REDIS_URL",
        "JWT_SECRET", "SEATWEB_PUBLIC_URL", "SEATWEB_LIMIT_HOLDS", "SEATWEB_TRUSTED_PROXIES",
    ):  # fmt: skip
        assert len([line for line in found if line.startswith(name)]) == 1, name
    assert len(found) == 10


@pytest.mark.parametrize(
    "secret",
    [
        "mySectreKeyWhichWillChange", "short", "a" * 64, "abab" * 16,
        "09d25e094faa6ca2556c818166b7a9563b93f7099f6f0f4caa6cf63b88e8d3e7", "your-secret-key-change-in-production",
    ],
)  # fmt: skip
def test_weak_and_well_known_secrets_are_refused_and_not_shown(secret: str) -> None:
    (found,) = problems(JWT_SECRET=secret)
    assert found.startswith("JWT_SECRET")
    assert secret not in found


@pytest.mark.parametrize(
    "password", ["Zk3v/9x", "Zk3v#9x", "Zk3v?9x", "Zk3v?a=9x", "Zk3v@9x", "/Zk3v9x", "Zk3v[9x/", "#Zk3v9x"]
)
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://seatweb:{}@db.example.org:5432/seatweb"),
        ("DATABASE_URL", "postgres://seatweb:{}@db1:5432,db2:5433/seatweb?target_session_attrs=read-write"),
        ("REDIS_URL", "redis://:{}@cache.example.org:6379/0"),
        ("REDIS_URL", "rediss://seatweb:{}@cache.example.org/0?ssl_cert_reqs=none"),
        ("REDIS_URL", "unix://:{}@/run/redis.sock?db=0"),
    ],
)
def test_a_password_that_is_not_percent_encoded_is_reported_and_not_shown(name: str, url: str, password: str) -> None:
    (found,) = problems(**{name: url.format(password), "JWT_SECRET": GOOD})
    assert found.startswith(f"{name}: the password or user name has characters that must be percent-encoded")
    assert "Zk3v" not in found
    assert "9x" not in found
    Settings.from_environment({name: url.format(quote(password, safe="")), "JWT_SECRET": GOOD})


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://seatweb:Zk3v", "a port must be a number"),
        ("postgresql://seatweb:Zk3v/seatweb", "a port must be a number"),
        ("postgresql://u:p@db1:5432,db2:x/seatweb", "a port must be a number"),
        ("postgresql://u:p@db:65536/seatweb", "a port must be a number"),
        ("postgresql://u:p@[::1/seatweb", "must look like"),
        ("postgresql://u:p@db/seatweb?hostaddr=192.0.2.1", "hostaddr is not supported; use the address as the host"),
        ("postgresql://u:p@db/seatweb?sslmode=yes", "sslmode must be one of allow, disable,"),
        ("postgresql://u:p@db/seatweb?sslrootcert=/no/such/file", "sslrootcert names a file that does not exist"),
        ("postgresql://u:p@db/seatweb?target_session_attrs=master", "target_session_attrs must be one of any,"),
        ("postgresql://u:p@db/seatweb?connect_timeout=soon", "connect_timeout must be a number of seconds"),
        ("postgresql://u:p@db/seatweb?channel_binding=require", "channel_binding must be disable or prefer"),
        ("postgresql://u:p@db/seatweb?sslmod=require", "Seatweb does not know the parameter 'sslmod'; it knows"),
        ("postgresql://db/seatweb?user=u&password=Zk3v&9x=1", "Seatweb does not know one of its parameters"),
        ("postgresql://u:p@db/seatweb?sslmode", "the parameters after '?' must look like name=value"),
    ],
)
def test_a_database_url_that_cannot_be_used_is_reported_in_one_line(url: str, said: str) -> None:
    (found,) = problems(DATABASE_URL=url, JWT_SECRET=GOOD)
    assert found.startswith(f"DATABASE_URL: {said}")
    assert not {"Zk3v", "9x"} & set(re.findall(r"\w+", found))
    assert "\n" not in found


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://seatweb:p@db1:5432,db2:5433/seatweb?target_session_attrs=read-write",
        "postgresql://seatweb:p@db1,db2/seatweb?connect_timeout=2",
        "postgresql://[::1]:5432,[2001:db8::1]/seatweb?user=seatweb&password=p",
        "postgresql://seatweb@%2Frun%2Fpostgresql/seatweb",
        "postgresql:///seatweb?host=/run/postgresql&port=5433&user=seatweb",
        "postgresql:///seatweb?host=db1,db2&port=5432,5433&user=seatweb",
        f"postgresql://u:p@db/seatweb?sslmode=verify-full&sslrootcert={__file__}&application_name=seats",
        "postgresql://u:p@db/seatweb?options=-c%20search_path%3Dseatweb&keepalives=1&gssencmode=disable",
    ],
)
def test_a_database_url_as_libpq_takes_it_is_accepted(url: str) -> None:
    settings = Settings.from_environment({"DATABASE_URL": url, "JWT_SECRET": GOOD})
    assert settings.database_url
    assert settings.database_url.get_secret_value() == url


def test_a_database_url_requires_a_jwt_secret() -> None:
    (found,) = problems(DATABASE_URL="postgresql://db/seatweb")
    assert "JWT_SECRET" in found


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "https://a/path?b=c",
        "https://a/path#x",
        "https://a/two//slashes",
        "https://a/seats//",
        "https://a//",
        "https://a/../b",
        "https://a/b/.",
        "https://a/b%20c",
        "https://a/b;c",
        "https://a/б",
        "https://a/{{b}}",
        "https://a?",
        "https://",
        "https://a?b=c",
        "https://a:b@host",
        "https://host:abc",
        "https://host#x",
    ],
)
def test_a_public_url_that_is_not_an_origin_with_a_simple_path_is_refused(url: str) -> None:
    (found,) = problems(SEATWEB_PUBLIC_URL=url)
    assert found.startswith("SEATWEB_PUBLIC_URL")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Seats.Example.org/", "https://seats.example.org"),
        ("https://seats.example.org:443", "https://seats.example.org"),
        ("http://seats.example.org:8080", "http://seats.example.org:8080"),
        ("http://[::1]:80", "http://[::1]"),
        ("https://Example.org/Seats/", "https://example.org/Seats"),
        ("https://example.org:443/tools/seats-2", "https://example.org/tools/seats-2"),
        ("https://example.org/.seats", "https://example.org/.seats"),
    ],
)
def test_the_public_url_is_normalised(given: str, kept: str) -> None:
    assert Settings.from_environment({"SEATWEB_PUBLIC_URL": given}).public_url == kept


LIMITS = {
    name: alias
    for name, field in Settings.model_fields.items()
    if (alias := str(field.alias)).startswith("SEATWEB_LIMIT_")
}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    ("written", "limit"),
    [
        ("1/second", Limit(1, 1)),
        ("10/minute", Limit(10, 60)),
        (" 10/hour ", Limit(10, 3600)),
        ("10000/day", Limit(10_000, 86_400)),
        ("off", None),
    ],
)
def test_a_limit_is_parsed_and_printed_in_the_same_notation(name: str, written: str, limit: Limit | None) -> None:
    assert getattr(Settings.from_environment({LIMITS[name]: written}), name) == limit
    assert limit is None or str(limit) == written.strip()


@pytest.mark.parametrize(
    "written",
    [
        "0/hour", "-1/hour", "10001/day", "1.5/hour", "10/week", "10/hours", "10 / hour", "10", "/hour", "none", "OFF",
        "0", "١/hour", "1e3/hour", "10/hour,5/minute", "10/Hour", "999999999999/second",
    ],
)  # fmt: skip
def test_an_invalid_limit_is_reported_in_one_line(written: str) -> None:
    (found,) = problems(SEATWEB_LIMIT_BOOKINGS=written)
    assert found.startswith("SEATWEB_LIMIT_BOOKINGS: must look like 10/hour")
    assert "\n" not in found


def test_the_six_limits_have_their_documented_defaults() -> None:
    settings = Settings.from_environment({})
    assert {alias: str(getattr(settings, name) or "off") for name, alias in LIMITS.items()} == {
        "SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ACCOUNT": "10/hour",
        "SEATWEB_LIMIT_SIGN_IN_FAILURES_PER_ADDRESS": "30/minute",
        "SEATWEB_LIMIT_REGISTRATIONS": "100/hour",
        "SEATWEB_LIMIT_HOLDS": "60/minute",
        "SEATWEB_LIMIT_BOOKINGS": "60/minute",
        "SEATWEB_LIMIT_REQUESTS": "off",
    }


def test_trusted_proxies_are_parsed_as_addresses_and_networks() -> None:
    settings = Settings.from_environment({"SEATWEB_TRUSTED_PROXIES": "10.0.0.5, 10.1.0.0/24,2001:db8::/48 ,unix"})
    networks, unix = settings.proxies
    assert [str(network) for network in networks] == ["10.0.0.5/32", "10.1.0.0/24", "2001:db8::/48"]
    assert unix
    assert Settings.from_environment({}).proxies == ([], False)


@pytest.mark.parametrize(
    "written",
    ["*", "10.0.0.5,*", "proxy.example.org", "10.0.0.5/24", "0.0.0.0/0", "::/0", "10.0.0", "UNIX", "10.0.0.5:80"],
)
def test_an_invalid_trusted_proxy_is_refused(written: str) -> None:
    (found,) = problems(SEATWEB_TRUSTED_PROXIES=written)
    assert found.startswith("SEATWEB_TRUSTED_PROXIES: ")


def test_the_page_of_settings_matches_the_code() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \| (.*?) \|$", page, re.MULTILINE)
    fields = {str(field.alias): field for field in Settings.model_fields.values()}
    assert sorted(name for name, _, _ in rows) == sorted(fields)
    assert {name: meaning for name, _, meaning in rows} == {name: field.description for name, field in fields.items()}
    written = {True: "yes", False: "no"}
    for name, default, _ in rows:
        value = fields[name].default
        if name.startswith("SEATWEB_LIMIT_"):
            assert default == f"`{value or 'off'}`", name
        elif isinstance(value, int | str):
            assert default == f"`{written.get(value, value) if isinstance(value, bool) else value}`", name
        else:
            assert default == "", name


def test_the_examples_on_the_page_of_settings_are_accepted() -> None:
    page = (ROOT / "docs/settings.md").read_text()
    examples = dict(re.findall(r'^    ([A-Z_]+)="?(.*?)"?$', page, re.MULTILINE))
    assert len(examples) > 10
    Settings.from_environment(examples | {"JWT_SECRET": GOOD})


@pytest.mark.parametrize(
    "contact", ["security@example.org", "http://example.org", "mailto:a\nb@c", "mailto:", "https://"]
)
def test_a_security_contact_that_is_not_a_uri_is_refused(contact: str) -> None:
    (found,) = problems(SEATWEB_SECURITY_CONTACT=contact)
    assert found.startswith("SEATWEB_SECURITY_CONTACT")


@pytest.mark.parametrize("contact", ["mailto:security@example.org", "https://example.org/s", "tel:+1-201-555-0123"])
def test_a_valid_security_contact_is_accepted(contact: str) -> None:
    assert Settings.from_environment({"SEATWEB_SECURITY_CONTACT": contact}).security_contact == contact


@pytest.mark.parametrize(("given", "kept"), [("no", False), ("false", False), ("yes", True), ("1", True), ("", True)])
def test_hsts_includes_subdomains_by_default(given: str, *, kept: bool) -> None:
    assert Settings.from_environment({"SEATWEB_HSTS_SUBDOMAINS": given}).hsts_subdomains is kept
