"""Benchmark password verification alone: `python -m benchmarks.argon2_alone SECONDS AT_A_TIME` prints the rate."""

from __future__ import annotations

import asyncio
import sys
import time

from seatweb.accounts.fair_queue import Requester
from seatweb.accounts.passwords import Passwords

WARM_UP_SECONDS = 0.5


async def main(seconds: float, at_a_time: int) -> float:
    """Return the number of passwords verified per second, with the app's threads and argon2 parameters."""
    passwords = Passwords()
    known = await passwords.hash("correct horse battery staple", Requester("192.0.2.1", "person"))

    async def verify(until: float, number: int) -> int:
        count, requester = (
            0,
            Requester("192.0.2.1", f"person {number}"),
        )  # one account's passwords are verified one at a time
        while time.perf_counter() < until:
            if not await passwords.verify("correct horse battery staple", known, requester):
                raise RuntimeError("the right password was refused")
            count += 1
        return count

    async def run(seconds: float) -> float:
        started = time.perf_counter()
        counts = await asyncio.gather(*(verify(started + seconds, number) for number in range(at_a_time)))
        return sum(counts) / (time.perf_counter() - started)

    await run(min(WARM_UP_SECONDS, seconds))
    return await run(seconds)


if __name__ == "__main__":
    print(asyncio.run(main(float(sys.argv[1]), int(sys.argv[2]))))
