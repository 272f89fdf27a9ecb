"""httpx: one client for all threads."""

import sys

import at_once
import httpx

limits = httpx.Limits(max_connections=at_once.COUNT)
client = httpx.Client(limits=limits, timeout=60, trust_env=False)


def fetch(number):
    url = f"http://127.0.0.1:{sys.argv[1]}/{number}?{at_once.WAIT}"
    return client.get(url).text == f"/{number}"


at_once.run(fetch, client.close)
