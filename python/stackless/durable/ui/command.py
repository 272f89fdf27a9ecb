"""Serves the page until a signal comes."""

from __future__ import annotations

import ipaddress
import json
import os
import signal
import sys
from typing import Any

from stackless.durable.opening import Opened, WrongUsage
from stackless.durable.ui.access import Access
from stackless.durable.ui.site import Site
from stackless.integrations import wsgi

_TOKEN = "STACKLESS_DURABLE_UI_TOKEN"


def serve(opened: Opened, bind: str, as_json: bool) -> None:
    """Serve the page at an address; print its URL first. Returns after SIGTERM or Ctrl-C.

    Raises WrongUsage for what is no address, OSError if it cannot be bound.
    """
    access = Access(os.environ.get(_TOKEN))
    try:
        server = wsgi.Server(Site(opened, access).wsgi, bind=bind, max_body=2**24)
    except ValueError as error:
        raise WrongUsage(str(error)) from None

    def stop(number: int, _: Any) -> None:
        server.stop()

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, stop)
    (address,) = server.addresses
    url = f"http://{address}/?token={access.token}"
    if address.startswith("unix:"):
        url = f"{address} (token {access.token})"
    elif not _is_loopback(address):
        print("Others can read what this page sends: it is not encrypted.", file=sys.stderr)
    print(json.dumps({"url": url}) if as_json else f"Open {url}", flush=True)
    server.serve_forever()


def _is_loopback(address: str) -> bool:
    host = address.rpartition(":")[0].strip("[]")
    return ipaddress.ip_address(host).is_loopback
