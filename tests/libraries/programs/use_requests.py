"""requests: a session for each thread."""

import sys

import at_once
import requests


def fetch(number):
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"http://127.0.0.1:{sys.argv[1]}/{number}?{at_once.WAIT}", timeout=60)
        return answer.text == f"/{number}"


at_once.run(fetch)
