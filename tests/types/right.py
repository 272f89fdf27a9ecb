"""Programs that a type checker accepts, and the types that it finds. Checked, not run."""

import socket
from typing import Any, assert_type

import stackless
from stackless import AltCase, AltResult, channel, run_tasklet, tasklet, to_thread


def fetch(url: str, timeout: float = 1.0) -> bytes:
    return url.encode()


def serve(requests: channel[str], replies: "channel[bytes]") -> None:
    for url in requests:
        assert_type(url, str)
        replies.send(fetch(url))


# Channels carry one type; without it, any.
numbers = channel[int](capacity=3)
numbers.send(1)
numbers.send_sequence([1, 2])
assert_type(numbers.receive(timeout=1), int)
assert_type(next(numbers), int)
assert_type(numbers.capacity, int)
anything = channel()
anything.send("x")
assert_type(anything.receive(), Any)
words: channel[str] = channel()
assert_type(words.receive(), str)


class Mailbox(channel[str]):
    def __init__(self, name: str) -> None:
        super().__init__(capacity=10)
        self.name = name

    def __alt_case__(self) -> AltCase[str]:
        return self.receiving()


assert_type(Mailbox("a").receive(), str)

# Tasklets carry the arguments and the result of their function.
started = tasklet(fetch)("http://example.org", timeout=2)
assert_type(started.join(), bytes)
tasklet(serve)(channel[str](), channel[bytes]())
tasklet(lambda: 1)().kill()
tasklet().bind(fetch, ("x",)).run()
tasklet(fetch).setup("x").insert()
assert_type(run_tasklet(fetch, "http://example.org").join(timeout=3), bytes)
assert_type(to_thread(fetch, "x", 1.5), bytes)
several: list[tasklet] = [started, stackless.getcurrent()]
results: "tasklet[..., bytes]" = started
assert_type(several[0].join(), Any)

# alt() gives what all its cases give; if they differ, any.
assert_type(stackless.alt(numbers, numbers.receiving()), AltResult[int])
assert_type(stackless.alt(numbers).value, int)
case, value = stackless.alt(numbers, numbers)
assert_type(value, int)
assert_type(stackless.alt(words, else_=None).value, str | None)
assert_type(words.sending("x"), AltCase[None])
assert_type(stackless.alt(numbers, words).value, Any)
with socket.socket() as connection:
    mixed = stackless.alt(
        numbers, started, connection, stackless.writable(connection), Mailbox("b"), timeout=1
    )
    assert_type(mixed.value, Any)
    assert_type(mixed.index, int)
