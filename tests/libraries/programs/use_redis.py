"""redis-py: one client for all threads; each waits for an item of a list that stays empty."""

import sys

import at_once
import redis

port = int(sys.argv[1])
client = redis.Redis(port=port, decode_responses=True, max_connections=at_once.COUNT)


def wait(number):
    client.set(f"key {number}", number)
    nothing = client.blpop([f"list {number}"], timeout=at_once.WAIT)
    return nothing is None and client.get(f"key {number}") == str(number)


at_once.run(wait, client.close)
