"""urllib3: one pool of TLS connections for all threads, with a local certificate authority."""

import sys

import at_once
import urllib3

pool = urllib3.HTTPSConnectionPool(
    "localhost", int(sys.argv[1]), maxsize=at_once.COUNT, ca_certs=sys.argv[2], timeout=60
)


def fetch(number):
    return pool.request("GET", f"/{number}?{at_once.WAIT}").data == f"/{number}".encode()


at_once.run(fetch, pool.close)
