"""The standard urllib, whose calls wait in tasklets as `socket` is replaced by another module.

`stackless.socket` has the names of the standard module; a call that would block lets other tasklets
run. Modules that import `socket` after it was replaced get that one. The talk did it in this way;
today there is `stackless.monkey`, which does not change what runs outside of tasklets.

    python examples/talk/monkeypatch.py
"""

import sys

import stackless
import stackless.socket
from local_server import web_server

sys.modules["socket"] = stackless.socket
for name in [n for n in sys.modules if n.split(".")[0] in ("http", "urllib", "ssl")]:
    del sys.modules[name]  # modules that have imported the standard one are imported anew

import http.client  # noqa: E402
import urllib.request  # noqa: E402

open_url = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def fetch(url: str) -> None:
    with open_url(url) as answer:
        print(answer.read().decode())


def count_turns() -> None:
    global turns
    while True:
        turns += 1
        stackless.sleep(0.01)


if __name__ == "__main__":
    turns = 0
    print("http.client uses", http.client.socket.__name__)  # type: ignore[attr-defined]
    counting = stackless.tasklet(count_turns)()
    counting.daemon = True
    with web_server() as address:
        stackless.tasklet(fetch)(f"{address}/slow?seconds=0.4")
        stackless.tasklet(fetch)(f"{address}/quick?seconds=0.2")
        stackless.run()
    print("others ran meanwhile:", turns > 3)
