"""Fetches pages with task groups: a time limit, a retry, clean-up, and what happens to errors.

python examples/task_groups.py
"""

import stackless

PAGES = {"index": 0.01, "news": 0.02, "archive": 60.0}


def fetch(page: str, log: list[str]) -> str:
    """Take as long as this page takes. Cancelled or not, say goodbye to the server."""
    try:
        stackless.sleep(PAGES[page])
        return f"text of {page}"
    finally:
        with stackless.shield(timeout=1):
            stackless.sleep(0.001)
            log.append(f"closed {page}")


def with_a_time_limit() -> None:
    log: list[str] = []
    with stackless.move_on_after(0.1) as limit:
        with stackless.TaskGroup() as group:
            fetching = {page: group.start(fetch, page, log, name=page) for page in PAGES}
    got = [page for page, tasklet in fetching.items() if tasklet.join() is not None]
    print(f"time limit reached: {limit.expired}; got {got}; {sorted(log)}")


def with_an_error() -> None:
    log: list[str] = []
    try:
        with stackless.TaskGroup() as group:
            group.start(fetch, "archive", log)
            group.start(fetch, "missing", log)
    except* KeyError as errors:
        for error in errors.exceptions:
            print(f"no such page: {error}; {log}")


def many_at_a_time() -> None:
    log: list[str] = []
    texts = list(stackless.map(lambda page: fetch(page, log), ["index", "news"] * 10, limit=5))
    print(f"{len(texts)} pages, 5 at a time")


if __name__ == "__main__":
    with_a_time_limit()
    with_an_error()
    many_at_a_time()
