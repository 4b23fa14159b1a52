"""Benchmarks of the server's start and of a page's first load."""

from __future__ import annotations

import re
import shutil
import sys
import time
from pathlib import Path
from typing import Final
from urllib.parse import urljoin

import httpx
from bs4 import BeautifulSoup

from benchmarks import data, people
from benchmarks.load import BenchmarkError
from benchmarks.measure import Bench, Result, median
from benchmarks.servers import Servers, execute

# What a browser fetches for a page: style sheets, scripts, icons, the manifest, fonts, images.
LINKED: Final = ("link[rel~=stylesheet]", "link[rel~=preload]", "link[rel~=icon]", "link[rel~=apple-touch-icon]")
MORE_LINKED: Final = ("link[rel~=modulepreload]", "link[rel~=manifest]")
WITH_SOURCE: Final = ("script[src]", "img[src]")
CSS_ADDRESS: Final = re.compile(r"""(?:url\(|@import\s)\s*["']?([^"')\s]+)""")
LARGEST_PAGE: Final = 60_000


def start(bench: Bench) -> list[Result]:
    """Measure the seconds from `python -m seatweb serve` to its first answer, on a new data folder and then again."""
    firsts, seconds = [], []
    for number in range(bench.rounds):
        folder = bench.servers.folder / f"start-{number}"
        firsts.append(_start(bench.servers, folder))
        seconds.append(_start(bench.servers, folder))
        shutil.rmtree(folder, ignore_errors=True)
    sent = "python -m seatweb serve, its own PostgreSQL and Redis, until GET / is answered; all cores"
    return [
        Result(
            "start: first", sent, f"{median(firsts):.2f} s", "", median(firsts), " s", 5.0, "less", {"ours": firsts}
        ),
        Result(
            "start: again", sent, f"{median(seconds):.2f} s", "", median(seconds), " s", 2.0, "less", {"ours": seconds}
        ),
    ]


def _start(servers: Servers, data_folder: Path) -> float:
    command = [sys.executable, "-m", "seatweb", "serve"]
    environment = {"SEATWEB_DATA_DIR": str(data_folder)}
    started = time.perf_counter()
    with servers.process(command, environment, ready="/", all_cores=True):
        return time.perf_counter() - started


def first_load(bench: Bench) -> list[Result]:
    """Count the bytes of a first page load: the page and everything it links to, compressed as the app does."""
    with bench.servers.database() as url:
        people.register(url, execute(url, "select count(*) from seats")[0][0])
        data.fill_half(url, people.today())
        with bench.servers.seatweb(url) as site:
            sizes = _load_all(f"http://{site.address.host}:{site.address.port}/")
    bench.say("first load: " + ", ".join(f"{name} {size:,}" for name, size in sizes.items()))
    total = sum(sizes.values())
    return [
        Result(
            name="first load",
            sent="GET / and everything that its HTML and CSS link to, Accept-Encoding with br; no cookie",
            ours=f"{total:,} bytes in {len(sizes)} answers, headers included",
            against="",
            figure=total,
            unit=" bytes",
            goal=LARGEST_PAGE,
            better="less",
            rounds={"ours": [*map(float, sizes.values())]},
        )
    ]


def _load_all(address: str) -> dict[str, int]:
    """Return the bytes on the wire of the page and of each file that it needs, by path.

    Raises:
        BenchmarkError: one of them is missing.
    """
    sizes: dict[str, int] = {}
    waiting = [address]
    with httpx.Client(headers={"Accept-Encoding": "gzip, deflate, br"}, timeout=10) as client:
        while waiting:
            answer = client.get(waiting.pop(0))
            if answer.status_code != 200:
                raise BenchmarkError(f"{answer.url}: {answer.status_code}")
            head = sum(len(name) + len(value) + 4 for name, value in answer.headers.raw)
            sizes[answer.url.path] = (
                len(f"HTTP/1.1 200 {answer.reason_phrase}\r\n\r\n") + head + answer.num_bytes_downloaded
            )
            for link in _links(answer):
                whole = urljoin(str(answer.url), link)
                path = httpx.URL(whole).path
                if path not in sizes and whole not in waiting and not link.startswith("data:"):
                    waiting.append(whole)
    return sizes


def _links(answer: httpx.Response) -> list[str]:
    kind = answer.headers.get("content-type", "")
    if kind.startswith("text/css"):
        return CSS_ADDRESS.findall(answer.text)
    if not kind.startswith("text/html"):
        return []
    page = BeautifulSoup(answer.text, "html.parser")
    links = [str(element["href"]) for element in page.select(", ".join(LINKED + MORE_LINKED))]
    return links + [str(element["src"]) for element in page.select(", ".join(WITH_SOURCE))]
