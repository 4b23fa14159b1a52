"""Change well-formed requests: first one change each, systematically, then random combinations that vary by day."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import zip_longest
from typing import Final, NamedTuple, TypeAlias

from tests.bad_input.forms import Base
from tests.bad_input.requests import TOKEN, Attempt, Draft, Person, Route, quoted
from tests.bad_input.values import (
    ALL_VALUES,
    CONTENT_TYPES,
    COOKIE_HEADERS,
    FORM_BODIES,
    HEADERS,
    JSON_BODIES,
    JSON_VALUES,
    METHODS,
    TRIED_FIRST,
    random_value,
)
from tests.bad_input.wires import WIRES

People: TypeAlias = dict[str, Person]
RAW_IN_TARGET: Final = re.compile(rb"[\x21-\x22\x24-\x3e\x40-\x7e\x80-\xff]+")


class Twist(NamedTuple):
    """One change that makes a request bad."""

    name: str
    apply: Callable[[Draft], object]
    touches: frozenset[str] = frozenset()
    """The parts of the request that it changes."""
    forges: bool = False
    """Whether the form can no longer come from one of its sender's pages."""
    first: bool = False
    """Whether it is tried first."""


def unchanged(route: Route, people: People, host: bytes) -> list[tuple[Base, Attempt]]:
    """Return the unchanged requests that all others are based on."""
    return [
        (base, Attempt(Draft(route, base, people[base.sender], host).render(), "nothing")) for base in route.form.bases
    ]


def attempts(route: Route, people: People, host: bytes) -> Iterator[Attempt]:
    """Yield requests forever: first each twist alone, alternating between the kinds, then several at once."""
    rng = random.Random(f"{os.environ['SEATWEB_TEST_SEED']} {route.name}")  # noqa: S311 - no secret
    kinds, turns = [], []
    for make, times in KINDS.items():
        if kind := list(make(route, people, rng)):
            rng.shuffle(kind)
            kind.sort(key=lambda twist: not twist.first)
            kinds.append(kind)
            turns += [kind[start::times] for start in range(times)]
    single = [twist for turn in zip_longest(*turns) for twist in turn if twist]
    forging = [twist for twist in single if twist.forges]

    def attempt(*twists: Twist) -> Iterator[Attempt]:
        if route.form.only_forged and not any(twist.forges for twist in twists):
            twists = (*twists, rng.choice(forging))
        touched = frozenset[str]().union(*(twist.touches for twist in twists))
        bases = [base for base in route.form.bases if base.is_still_refused(touched)]
        if not bases:
            return
        base = rng.choice(bases)
        draft = Draft(route, base, people[base.sender], host)
        for twist in twists:
            twist.apply(draft)
        names, sent = ", ".join(twist.name for twist in twists), draft.render()
        yield Attempt(sent, names, draft.disconnects, draft.last, bodiless=draft.method == b"HEAD")

    for twist in single:
        yield from attempt(twist)
    while True:
        several = [rng.choice(rng.choice(kinds)) for _ in range(rng.randint(0, 3))]
        yield from attempt(*several, *(_random_twist(route, rng) for _ in range(rng.randint(1, 2))))


def _random_twist(route: Route, rng: random.Random) -> Twist:
    """Return a random twist."""
    value = random_value(rng)
    makes: list[Callable[[], Twist]] = [
        lambda: _query(rng.choice((*route.query, "bad")), value, rng),
        lambda: _header(rng.choice([*HEADERS]), value),
    ]
    if route.fields:
        text = value if not route.program else rng.choice((_as_json(value), value, rng.choice(JSON_VALUES)))
        makes += 3 * [lambda: _field(route, rng.choice(route.fields), text, rng)]
    if names := [*route.form.bases[0].path]:
        makes += 3 * [lambda: _path(rng.choice(names), value, rng)]
    return rng.choice(makes)()


def _as_json(value: bytes) -> bytes:
    return json.dumps(value.decode(errors="replace")).encode()


# One value in one place


def _field(route: Route, name: str, value: bytes, rng: random.Random) -> Twist:
    encoding = "json" if route.program else rng.choice(("form", "form", "multipart", "raw"))
    if re.search(route.form.avoid, value.decode(errors="replace")):
        value = b"12345"

    def give(draft: Draft) -> None:
        draft.encoding = encoding
        draft.set_field(name.encode(), value)

    first = value in TRIED_FIRST or value in map(_as_json, TRIED_FIRST)
    return Twist(f"{name}={value[:60]!r} ({encoding})", give, frozenset({name}), first=first)


def _path(name: str, value: bytes, rng: random.Random) -> Twist:
    written = rng.choice((quoted(value), quoted(quoted(value)), value))
    if not RAW_IN_TARGET.fullmatch(written):
        written = quoted(value)
    description, touches = f"{{{name}}}={written[:60]!r}", frozenset({name})
    return Twist(description, lambda draft: draft.path.update({name: written}), touches, first=value in TRIED_FIRST)


def _query(name: str, value: bytes, rng: random.Random) -> Twist:
    key = name.encode()
    pairs = [key + b"=" + quoted(value), key + b"=" + value, quoted(value) + b"=" + key]
    written = pairs[0] if rng.random() < 0.6 else rng.choice((*pairs, b"&".join(2 * [pairs[0]]), key))
    if not RAW_IN_TARGET.fullmatch(written):
        written = pairs[0]
    return Twist(f"?{written[:60]!r}", lambda draft: draft.query.append(written))


def _header(name: bytes, value: bytes | None) -> Twist:
    shown = value if value is None else value[:60]
    return Twist(f"{name.decode()}: {shown!r}", lambda draft: draft.set_header(name, value))


def _cookie(name: bytes, value: bytes, rng: random.Random) -> Twist:
    instead, written = rng.random() < 0.7, name + b"=" + rng.choice((value, quoted(value), b'"' + value + b'"'))

    def carry(draft: Draft) -> None:
        draft.cookies = [one for one in draft.cookies if not (instead and one.startswith(name + b"="))] + [written]

    return Twist(f"cookie {written[:60]!r}", carry)


def _set(name: str, value: object, draft: Draft) -> None:
    setattr(draft, name, value)


# The kinds


def _fields(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    values = [*JSON_VALUES, *map(_as_json, ALL_VALUES)] if route.program else ALL_VALUES
    return (_field(route, name, value, rng) for name in route.fields for value in values)


def _shapes(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    def leave_out(name: bytes, draft: Draft) -> None:
        draft.fields = [pair for pair in draft.fields if pair[0] != name]

    def twice(name: bytes, draft: Draft) -> None:
        draft.fields += [pair for pair in draft.fields if pair[0] == name]

    def in_query(name: bytes, draft: Draft) -> None:
        draft.query += [quoted(key) + b"=" + quoted(value) for key, value in draft.fields if key == name]

    def more(name: bytes, value: bytes, draft: Draft) -> None:
        draft.fields.append((name, value))

    for field in route.fields:
        name = field.encode()
        yield Twist(f"no {field}", partial(leave_out, name), frozenset({field}))
        yield Twist(f"{field} twice", partial(twice, name))
        yield Twist(f"{field} in the query", partial(in_query, name))
        for other in (name + b"[]", name.upper(), name + b"\0", b" " + name, name + b".a", b"a." + name):
            yield Twist(f"a field {other!r}", partial(more, other, b"7"))
    for value in ALL_VALUES if route.has_body else ():
        yield Twist(f"a field {value[:60]!r}", partial(more, value, b"7"))


def _tokens(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    if route.program:
        jwt = people["user"].bearer
        for value in (*ALL_VALUES, jwt[:-3] + b"AAA", jwt.upper(), jwt + b".a", b".".join(jwt.split(b".")[:2]) + b"."):
            yield _header(b"Authorization", rng.choice((value, b"Bearer " + value, b"Bearer " + value)))
        return
    if not route.has_body:
        return
    good = people["user"].token

    def give(value: bytes, draft: Draft) -> None:
        draft.set_field(TOKEN, value)

    wrong = (people["stranger"].token, good[:-1], good + b"0", good.upper(), good[:95] + b"\xd9\xa0", b"0" * 96)
    for value in (*ALL_VALUES, *wrong):
        yield Twist(f"token {value[:60]!r}", partial(give, value), forges=True)

    def no_token(draft: Draft) -> None:
        draft.fields = [pair for pair in draft.fields if pair[0] != TOKEN]

    yield Twist("no token", no_token, forges=True)
    for name, value in (
        (b"Origin", b"https://bad-input.example"),
        (b"Origin", b"null"),
        (b"Sec-Fetch-Site", b"same-site"),
    ):
        yield _header(name, value)


def _strangers(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    """Yield the same values from a visitor who is not signed in."""

    def forget(then: Callable[[Draft], object], draft: Draft) -> None:
        then(draft)
        draft.cookies = []
        draft.set_header(b"Authorization", None)

    for kind in (_fields, _paths, _queries):
        found = list(kind(route, people, rng))
        for twist in rng.sample(found, min(100, len(found))):
            yield Twist(f"nobody: {twist.name}", partial(forget, twist.apply), twist.touches, forges=True)


def _paths(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    return (_path(name, value, rng) for name in route.form.bases[0].path for value in ALL_VALUES)


def _queries(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    for name in route.query:
        yield from (_query(name, value, rng) for value in ALL_VALUES)
    yield from (_query("bad", value, rng) for value in rng.sample(ALL_VALUES, 60))


def _headers(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    specific = ((name, value) for name, values in HEADERS.items() for value in (*values, None))
    yield from (_header(name, value) for name, value in specific if value is not None or name == b"Host")
    yield from (_header(rng.choice([*HEADERS]), value) for value in ALL_VALUES)


def _cookies(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    def carry(draft: Draft, *, also: bytes | None = None, only: bytes | None = None) -> None:
        draft.cookies = [*draft.cookies, also] if also is not None else [only or b""]

    for header in COOKIE_HEADERS:
        yield Twist(f"also cookies {header[:60]!r}", partial(carry, also=header))
        yield Twist(f"cookies {header[:60]!r}", partial(carry, only=header))
    known = {cookie.partition(b"=")[0] for person in people.values() for cookie in person.cookies}
    names = sorted(known | {b"seatweb_notice", b"seatweb_changed"})
    yield from (_cookie(rng.choice(names), value, rng) for value in ALL_VALUES)


def _bodies(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    if not route.has_body:
        return
    bodies: Iterable[tuple[bytes | None, bytes]] = FORM_BODIES
    if route.program:
        bodies = [(b"application/json", body) for body in JSON_BODIES]
    for body in bodies:
        yield Twist(f"body {body[0]!r} {body[1][:60]!r}", partial(_set, "body", body))
    for kind in CONTENT_TYPES:
        yield _header(b"Content-Type", kind)


def _methods(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    touches = frozenset(route.fields)  # another method may ignore them
    for method in METHODS:
        if method.decode() != route.method:
            yield Twist(f"method {method!r}", partial(_set, "method", method), touches)


def _wires(route: Route, people: People, rng: random.Random) -> Iterator[Twist]:
    for name, wire in WIRES.items():

        def send(draft: Draft, name: str = name, wire: Callable[..., bytes] = wire) -> None:
            draft.wire, draft.last = wire, True
            draft.disconnects = draft.disconnects or name.startswith("disconnects")

        yield Twist(name, send)


# Each kind, with how many of it are yielded per turn.
KINDS: Final = {
    _fields: 3,
    _paths: 3,
    _bodies: 2,
    _tokens: 1,
    _strangers: 1,
    _shapes: 1,
    _queries: 1,
    _headers: 1,
    _cookies: 1,
    _methods: 1,
    _wires: 1,
}
