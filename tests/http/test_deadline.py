"""A request that takes too long is refused with 503, or cut off if its response has started."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from litestar.types import Message, Receive, Scope, Send
from seatweb.errors import Overloaded
from seatweb.http import deadline
from seatweb.http.deadline import Deadline

SCOPE: Any = {"type": "http"}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadline, "DEADLINE_SECONDS", 0.05)


async def nothing() -> Any:
    raise AssertionError("nobody reads")


def answer_of(content_type: bytes) -> Message:
    return {"type": "http.response.start", "status": 200, "headers": [(b"content-type", content_type)]}


async def test_a_request_without_a_response_in_time_is_refused_as_overloaded() -> None:
    async def stuck(_scope: Scope, _receive: Receive, _send: Send) -> None:
        await asyncio.Event().wait()

    async def send(_message: Message) -> None:
        raise AssertionError("nothing was answered")

    async with asyncio.timeout(30):
        with pytest.raises(Overloaded):
            await Deadline(stuck)(SCOPE, nothing, send)


@pytest.mark.parametrize(("kind", "ends"), [(b"text/html", True), (deadline.EVENT_STREAM, False)])
async def test_a_started_response_is_cut_off_unless_it_is_a_stream(kind: bytes, *, ends: bool) -> None:
    sent: list[Message] = []
    over = asyncio.Event()

    async def begins(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send(answer_of(kind))
        await over.wait()
        await send({"type": "http.response.body", "body": b"the end", "more_body": False})

    async def send(message: Message) -> None:
        sent.append(message)

    async with asyncio.timeout(30):
        running = asyncio.create_task(Deadline(begins)(SCOPE, nothing, send))
        if not ends:
            await asyncio.sleep(0.2)  # four times the time limit
            assert not running.done()
            over.set()
        await running
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"][: 1 if ends else 2]
