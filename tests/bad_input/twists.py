"""Change well-formed requests: first one change each, systematically, then random combinations, different every day."""

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
    CONTENT_TYPES,
    COOKIE_HEADERS,
    EVERY,
    FORM_BODIES,
    HEADERS,
    JSON_BODIES,
    JSON_VALUES,
    METHODS,
    TELLING,
    anything,
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
    telling: bool = False
    """Whether it is tried first."""


def sound(route: Route, people: People, host: bytes) -> list[tuple[Base, Attempt]]:
    """Return the unchanged requests that all others are based on."""
    return [
        (base, Attempt(Draft(route, base, people[base.who], host).render(), "nothing")) for base in route.form.bases
    ]


def attempts(route: Route, people: People, host: bytes) -> Iterator[Attempt]:
    """Yield requests forever: first each twist alone, alternating between the kinds, then several at once."""
    choose = random.Random(f"{os.environ['SEATWEB_TEST_SEED']} {route.name}")  # noqa: S311 - no secret
    kinds, turns = [], []
    for make, times in KINDS.items():
        if kind := list(make(route, people, choose)):
            choose.shuffle(kind)
            kind.sort(key=lambda twist: not twist.telling)
            kinds.append(kind)
            turns += [kind[start::times] for start in range(times)]
    single = [twist for turn in zip_longest(*turns) for twist in turn if twist]
    forging = [twist for twist in single if twist.forges]

    def attempt(*twists: Twist) -> Iterator[Attempt]:
        if route.form.only_forged and not any(twist.forges for twist in twists):
            twists = (*twists, choose.choice(forging))
        touched = frozenset[str]().union(*(twist.touches for twist in twists))
        bases = [base for base in route.form.bases if base.is_refused_without(touched)]
        if not bases:
            return
        base = choose.choice(bases)
        draft = Draft(route, base, people[base.who], host)
        for twist in twists:
            twist.apply(draft)
        names, sent = ", ".join(twist.name for twist in twists), draft.render()
        yield Attempt(sent, names, draft.leaves, draft.last, bodiless=draft.method == b"HEAD")

    for twist in single:
        yield from attempt(twist)
    while True:
        several = [choose.choice(choose.choice(kinds)) for _ in range(choose.randint(0, 3))]
        yield from attempt(*several, *(_made_up(route, choose) for _ in range(choose.randint(1, 2))))


def _made_up(route: Route, choose: random.Random) -> Twist:
    """Return a random twist."""
    value = anything(choose)
    makes: list[Callable[[], Twist]] = [
        lambda: _query(choose.choice((*route.query, "bad")), value, choose),
        lambda: _header(choose.choice([*HEADERS]), value),
    ]
    if route.fields:
        text = value if not route.program else choose.choice((_as_json(value), value, choose.choice(JSON_VALUES)))
        makes += 3 * [lambda: _field(route, choose.choice(route.fields), text, choose)]
    if names := [*route.form.bases[0].path]:
        makes += 3 * [lambda: _path(choose.choice(names), value, choose)]
    return choose.choice(makes)()


def _as_json(value: bytes) -> bytes:
    return json.dumps(value.decode(errors="replace")).encode()


# One value in one place


def _field(route: Route, name: str, value: bytes, choose: random.Random) -> Twist:
    encoding = "json" if route.program else choose.choice(("form", "form", "multipart", "raw"))
    if re.search(route.form.never, value.decode(errors="replace")):
        value = b"12345"

    def give(draft: Draft) -> None:
        draft.encoding = encoding
        draft.give(name.encode(), value)

    telling = value in TELLING or value in map(_as_json, TELLING)
    return Twist(f"{name}={value[:60]!r} ({encoding})", give, frozenset({name}), telling=telling)


def _path(name: str, value: bytes, choose: random.Random) -> Twist:
    written = choose.choice((quoted(value), quoted(quoted(value)), value))
    if not RAW_IN_TARGET.fullmatch(written):
        written = quoted(value)
    told, touches = f"{{{name}}}={written[:60]!r}", frozenset({name})
    return Twist(told, lambda draft: draft.path.update({name: written}), touches, telling=value in TELLING)


def _query(name: str, value: bytes, choose: random.Random) -> Twist:
    key = name.encode()
    pairs = [key + b"=" + quoted(value), key + b"=" + value, quoted(value) + b"=" + key]
    written = pairs[0] if choose.random() < 0.6 else choose.choice((*pairs, b"&".join(2 * [pairs[0]]), key))
    if not RAW_IN_TARGET.fullmatch(written):
        written = pairs[0]
    return Twist(f"?{written[:60]!r}", lambda draft: draft.query.append(written))


def _header(name: bytes, value: bytes | None) -> Twist:
    told = value if value is None else value[:60]
    return Twist(f"{name.decode()}: {told!r}", lambda draft: draft.head(name, value))


def _cookie(name: bytes, value: bytes, choose: random.Random) -> Twist:
    instead, written = choose.random() < 0.7, name + b"=" + choose.choice((value, quoted(value), b'"' + value + b'"'))

    def carry(draft: Draft) -> None:
        draft.cookies = [one for one in draft.cookies if not (instead and one.startswith(name + b"="))] + [written]

    return Twist(f"cookie {written[:60]!r}", carry)


def _set(name: str, value: object, draft: Draft) -> None:
    setattr(draft, name, value)


# The kinds


def _fields(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    values = [*JSON_VALUES, *map(_as_json, EVERY)] if route.program else EVERY
    return (_field(route, name, value, choose) for name in route.fields for value in values)


def _shapes(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
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
    for value in EVERY if route.has_body else ():
        yield Twist(f"a field {value[:60]!r}", partial(more, value, b"7"))


def _tokens(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    if route.program:
        good = people["user"].bearer
        for value in (*EVERY, good[:-3] + b"AAA", good.upper(), good + b".a", b".".join(good.split(b".")[:2]) + b"."):
            yield _header(b"Authorization", choose.choice((value, b"Bearer " + value, b"Bearer " + value)))
        return
    if not route.has_body:
        return
    good = people["user"].token

    def give(value: bytes, draft: Draft) -> None:
        draft.give(TOKEN, value)

    wrong = (people["stranger"].token, good[:-1], good + b"0", good.upper(), good[:95] + b"\xd9\xa0", b"0" * 96)
    for value in (*EVERY, *wrong):
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


def _strangers(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    """Yield the same values from a visitor who is not signed in."""

    def forget(then: Callable[[Draft], object], draft: Draft) -> None:
        then(draft)
        draft.cookies = []
        draft.head(b"Authorization", None)

    for kind in (_fields, _paths, _queries):
        found = list(kind(route, people, choose))
        for twist in choose.sample(found, min(100, len(found))):
            yield Twist(f"nobody: {twist.name}", partial(forget, twist.apply), twist.touches, forges=True)


def _paths(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    return (_path(name, value, choose) for name in route.form.bases[0].path for value in EVERY)


def _queries(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    for name in route.query:
        yield from (_query(name, value, choose) for value in EVERY)
    yield from (_query("bad", value, choose) for value in choose.sample(EVERY, 60))


def _headers(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    own = ((name, value) for name, values in HEADERS.items() for value in (*values, None))
    yield from (_header(name, value) for name, value in own if value is not None or name == b"Host")
    yield from (_header(choose.choice([*HEADERS]), value) for value in EVERY)


def _cookies(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    def carry(draft: Draft, *, also: bytes | None = None, only: bytes | None = None) -> None:
        draft.cookies = [*draft.cookies, also] if also is not None else [only or b""]

    for header in COOKIE_HEADERS:
        yield Twist(f"also cookies {header[:60]!r}", partial(carry, also=header))
        yield Twist(f"cookies {header[:60]!r}", partial(carry, only=header))
    known = {cookie.partition(b"=")[0] for person in people.values() for cookie in person.cookies}
    names = sorted(known | {b"seatweb_notice", b"seatweb_changed"})
    yield from (_cookie(choose.choice(names), value, choose) for value in EVERY)


def _bodies(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    if not route.has_body:
        return
    bodies: Iterable[tuple[bytes | None, bytes]] = FORM_BODIES
    if route.program:
        bodies = [(b"application/json", body) for body in JSON_BODIES]
    for body in bodies:
        yield Twist(f"body {body[0]!r} {body[1][:60]!r}", partial(_set, "body", body))
    for kind in CONTENT_TYPES:
        yield _header(b"Content-Type", kind)


def _methods(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    touches = frozenset(route.fields)  # another method may ignore them
    for method in METHODS:
        if method.decode() != route.method:
            yield Twist(f"method {method!r}", partial(_set, "method", method), touches)


def _wires(route: Route, people: People, choose: random.Random) -> Iterator[Twist]:
    for name, wire in WIRES.items():

        def send(draft: Draft, name: str = name, wire: Callable[..., bytes] = wire) -> None:
            draft.wire, draft.last = wire, True
            draft.leaves = draft.leaves or name.startswith("leaves")

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
