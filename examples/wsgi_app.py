"""A WSGI application that waits for others, served by one process.

    python -m stackless serve examples.wsgi_app:app --access-log -

Then open http://127.0.0.1:8000/ : the page is made of ten parts, which are fetched at the same time
from the server itself; each takes 0.2 seconds.
"""

import json
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.request import ProxyHandler, build_opener

fetch = build_opener(ProxyHandler({})).open


def part(environ: dict[str, Any]) -> bytes:
    """A slow service."""
    time.sleep(0.2)
    return json.dumps({"part": environ["QUERY_STRING"]}).encode()


def page(environ: dict[str, Any]) -> bytes:
    """Asks ten slow services, each in a thread: those are tasklets."""
    here = f"http://{environ['HTTP_HOST']}/part"
    started = time.perf_counter()
    with ThreadPoolExecutor(10) as pool:
        parts = list(pool.map(lambda n: json.load(fetch(f"{here}?{n}"))["part"], range(10)))
    return f"{' '.join(parts)}: {time.perf_counter() - started:.1f} s\n".encode()


def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Serve / and /part."""
    pages = {"/": page, "/part": part}
    if environ["PATH_INFO"] not in pages:
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"nothing here\n"]
    body = pages[environ["PATH_INFO"]](environ)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [body]
