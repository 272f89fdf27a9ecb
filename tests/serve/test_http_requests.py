"""Requests as they arrive: bodies, pipelines, what is refused, and limits of size and time."""

import time

import pytest

OK = [("Content-Type", "text/plain")]
END = b"Host: x\r\nConnection: close\r\n"


def echo(environ, start_response):
    """Answers with the path and the body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", OK)
    return [environ["PATH_INFO"].encode("latin-1"), b" ", body]


def ignore(environ, start_response):
    start_response("200 OK", OK)
    return [b"ignored"]


def status_of(answer):
    return int(answer[9:12]) if answer else None


def body_of(answer):
    return answer.partition(b"\r\n\r\n")[2]


# ---------------------------------------------------------------- bodies


@pytest.mark.parametrize("size", [0, 1, 65536, 65537, 3_000_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies(serve, size, chunked):
    """Of any size arrive as they were sent, and the next request follows."""
    body = bytes(n % 251 for n in range(size))
    if chunked:
        pieces = [body[n : n + 50_000] for n in range(0, size, 50_000)]
        coded = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        head, sent = b"Transfer-Encoding: Chunked\r\n", coded + b"0\r\nTrailer: 1\r\n\r\n"
    else:
        head, sent = b"Content-Length: %d\r\n" % size, body
    request = b"POST /first HTTP/1.1\r\nHost: x\r\n" + head + b"\r\n" + sent
    answer = serve(echo).ask(request + b"GET /second HTTP/1.1\r\n" + END + b"\r\n")
    assert answer.count(b"HTTP/1.1 200 OK") == 2 and b"/first " + body in answer
    assert answer.endswith(b"/second ")


def test_requests_in_single_bytes(serve):
    """Wherever the parts are divided."""
    request = b"POST /p HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nX-Long: abc\r\n\r\nabc"
    request += (
        b"POST /q HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"\r\n2\r\nde\r\n0\r\n\r\n"
    )
    parts = [request[n : n + 1] for n in range(len(request))]
    answer = serve(echo).ask(parts, pause=lambda: time.sleep(0.0005))
    assert b"/p abc" in answer and answer.endswith(b"/q de")


def test_reading_lines(serve):
    """read, readline, readlines and iteration of a body that arrives in parts."""
    lines = []

    def app(environ, start_response):
        file = environ["wsgi.input"]
        lines.extend([file.readline(), file.readline(3), file.readline(), file.read(2)])
        lines.append(file.readlines(1))
        lines.append(list(file))
        lines.extend([file.read(), file.read(5), file.readline(), file.readlines()])
        start_response("200 OK", OK)
        return [b"done"]

    body = b"one\ntwo\nxxyy\nthree\nfour\nfive"
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + END + b"\r\n"
    chunks = [b"%x\r\n%b\r\n" % (len(body[n : n + 3]), body[n : n + 3]) for n in range(0, 28, 3)]
    served = serve(app)
    served.ask([head, *chunks, b"0\r\n\r\n"], pause=lambda: time.sleep(0.002))
    expected = [b"one\n", b"two", b"\n", b"xx", [b"yy\n"], [b"three\n", b"four\n", b"five"]]
    assert lines == [*expected, b"", b"", b"", []]


def test_expect_continue(serve):
    """100 is sent when the application reads; not if it does not, nor if the body is there."""
    head = b"POST / HTTP/1.1\r\nContent-Length: 3\r\nExpect: 100-continue\r\n" + END + b"\r\n"
    served = serve(echo)
    with served.connect() as connection:
        connection.sendall(head)
        assert connection.recv(1000) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abc")
        assert connection.recv(1000).endswith(b"/ abc")
    assert b"100 Continue" not in served.ask(head + b"abc")
    answer = serve(ignore).ask(head)
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer


def test_body_that_is_not_read(serve):
    """The answer arrives, although the client is still sending; no request is read out of it."""
    body = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n" * 10_000
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
    answer = serve(ignore).ask(head + body)
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.endswith(b"ignored")


def test_pipeline(serve):
    """Answers come in the order of the requests."""
    request = b"".join(b"GET /%d HTTP/1.1\r\nHost: x\r\n\r\n" % n for n in range(500))
    answer = serve(echo).ask(request + b"GET /last HTTP/1.1\r\n" + END + b"\r\n")
    paths = [part.partition(b"\r\n\r\n/")[2].strip() for part in answer.split(b"HTTP/1.1 200 OK")]
    assert paths[1:] == [b"%d" % n for n in range(500)] + [b"last"]


UPGRADE = b"Upgrade: h2c\r\nConnection: Upgrade\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("fields", "body", "expected"),
    [
        (b"", b"", b""),
        (b"Content-Length: 5\r\n", b"hello", b"hello"),
        (b"Content-Length: 200000\r\n", b"x" * 200_000, b"x" * 200_000),
        (b"Transfer-Encoding: chunked\r\n", b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
def test_upgrade_is_ignored(serve, fields, body, expected, together):
    """The request is answered as if it did not ask for another protocol, its body included."""
    parts = [b"POST /u HTTP/1.1\r\n" + UPGRADE + fields + b"\r\n", body]
    asked = b"".join(parts) if together else parts
    answer = serve(echo).ask(asked, pause=lambda: time.sleep(0.02))
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.endswith(b"/u " + expected)


def test_bad_body_after_an_upgrade(serve):
    head = b"POST /u HTTP/1.1\r\n" + UPGRADE + b"Transfer-Encoding: chunked\r\n\r\n"
    assert status_of(serve(echo).ask(head + b"zz\r\n")) == 400


# ---------------------------------------------------------------- what is refused

BOTH = b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", 400),
        (b"GET / HTTP/2.0\r\nHost: x\r\n\r\n", {400, 505}),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET http://a@b/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nName : y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nName: a\0b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nName: a\rb\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\n" + BOTH + b"\r\n0\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3, 3\r\n\r\nabc", 400),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", {400, 501}),
        (b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n\r\n", {400, 501}),
        (b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3x\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n", 400),
        (CHUNKED + b"3\r\nabcd\r\n0\r\n\r\n", 400),
        (CHUNKED + b"fffffffffffffffff\r\nabc", 400),
    ],
)
def test_what_is_no_request(serve, request_text, status):
    """It is answered by the server; the application is not called; the connection is closed."""
    called = []

    def app(environ, start_response):
        called.append(environ)
        return echo(environ, start_response)

    served = serve(app)
    answer = served.ask(request_text + b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
    assert status_of(answer) in (status if isinstance(status, set) else {status})
    assert answer.count(b"HTTP/1.1 ") == 1 and b"Connection: close" in answer
    assert called == []
    assert body_of(served.ask(b"GET /good HTTP/1.1\r\n" + END + b"\r\n")) == b"/good "


def test_requests_before_a_bad_one_are_answered(serve):
    request = b"GET /good HTTP/1.1\r\nHost: x\r\n\r\n"
    answer = serve(echo).ask(request * 2 + b"bad\r\n\r\n")
    assert answer.count(b"/good ") == 2 and answer.count(b"HTTP/1.1 400 ") == 1


@pytest.mark.parametrize("catches", [False, True])
def test_bad_chunk_while_the_application_reads(serve, catches):
    """400, even if the application makes another error of it."""

    def app(environ, start_response):
        try:
            return echo(environ, start_response)
        except ConnectionError:
            if not catches:
                raise
            raise ValueError from None

    served = serve(app)
    answer = served.ask([CHUNKED + b"3\r\nabc\r\n", b"zz\r\n"], pause=lambda: time.sleep(0.1))
    assert status_of(answer) == 400
    assert "Traceback" not in "".join(served.logged)


# ---------------------------------------------------------------- sizes


def test_longest_request_line(serve):
    served = serve(echo, max_line=100)
    assert status_of(served.get(b"/" + b"x" * 90)) == 200
    assert status_of(served.get(b"/" + b"x" * 101)) == 414


@pytest.mark.parametrize("together", [True, False])
def test_largest_head(serve, together):
    """In one part, and in many: the rest is not even read."""
    served = serve(echo, max_head=1000)
    field = b"X-%d: " + b"y" * 50 + b"\r\n"
    small, large = (b"".join(field % n for n in range(count)) for count in (10, 30))
    for fields, status in ((small, 200), (large, 431)):
        parts = [b"GET / HTTP/1.1\r\n", fields, END, b"\r\n"]
        if together:
            assert status_of(served.ask(b"".join(parts))) == status
        else:
            assert status_of(served.ask(parts, pause=lambda: time.sleep(0.02))) == status


def test_endless_field(serve):
    """One that never ends is refused when it is too large."""
    served = serve(echo, max_head=10_000)
    parts = [b"GET / HTTP/1.1\r\nX: ", *[b"y" * 1000] * 30]
    assert status_of(served.ask(parts, pause=lambda: time.sleep(0.001))) == 431


def test_endless_trailer_and_extension(serve):
    served = serve(echo, max_head=10_000)
    for begin in (b"0\r\nX: ", b"3;x="):
        parts = [CHUNKED, b"1\r\na\r\n", begin, *[b"y" * 1000] * 30]
        assert status_of(served.ask(parts, pause=lambda: time.sleep(0.001))) == 400


def test_number_of_fields(serve):
    served = serve(echo, max_fields=10)
    assert status_of(served.get(b"/", *[b"X-%d: y" % n for n in range(8)])) == 200
    assert status_of(served.get(b"/", *[b"X-%d: y" % n for n in range(9)])) == 431
    assert status_of(served.get(b"/", *[b"X: y"] * 9)) == 431


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("size", "status"), [(100_000, 200), (100_001, 413)])
def test_largest_body(serve, chunked, size, status):
    served = serve(echo, max_body=100_000)
    body = b"x" * size
    head = b"Content-Length: %d\r\n" % size
    if chunked:
        head, body = b"Transfer-Encoding: chunked\r\n", b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    answer = served.ask(b"POST / HTTP/1.1\r\n" + END + head + b"\r\n" + body)
    assert status_of(answer) == status


# ---------------------------------------------------------------- time

SHORT = {"header_timeout": 0.4, "body_timeout": 0.4, "keep_alive": 0.4, "send_timeout": 0.4}


@pytest.mark.parametrize(
    ("parts", "status"),
    [
        ([b""], None),
        ([b"GET / HTTP"], 408),
        ([b"GET / HTTP/1.1\r\nHost: x\r\nX"], 408),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"], 200),
        ([b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP"], 200),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"], 408),
        ([b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\na"], 408),
        ([CHUNKED + b"1\r\na\r\n"], 408),
    ],
)
def test_clients_that_send_no_more(serve, parts, status):
    """Their connections are closed; 408 if a request has begun."""
    served = serve(echo, **SHORT)
    started = time.monotonic()
    answer = served.ask(parts, pause=lambda: time.sleep(0.05))
    assert status_of(answer) == status
    if len(parts) == 2:
        assert b"HTTP/1.1 408 " in answer
    assert time.monotonic() - started > 0.3
    assert "Traceback" not in "".join(served.logged)


def test_slow_head(serve):
    """A client that sends byte by byte cannot make a head last longer."""
    served = serve(echo, **SHORT)
    with served.connect() as connection:
        for _ in range(200):
            try:
                connection.sendall(b"G" if _ == 0 else b"E" if _ == 1 else b"T" if _ == 2 else b" ")
            except ConnectionError:
                break
            time.sleep(0.05)
        else:
            raise AssertionError("it was not closed")


def test_slow_application(serve):
    """The time limits are for clients."""

    def app(environ, start_response):
        time.sleep(1.5)
        return echo(environ, start_response)

    assert status_of(serve(app, **SHORT).get()) == 200


def test_steady_bodies_may_take_long(serve):
    """The limit is for each part."""
    head = b"POST / HTTP/1.1\r\nContent-Length: 12\r\n" + END + b"\r\n"
    answer = serve(echo, **SHORT).ask([head, *[b"x"] * 12], pause=lambda: time.sleep(0.1))
    assert answer.endswith(b"x" * 12)


def test_clients_that_take_nothing(serve):
    """An answer that nothing takes is given up; close() of the iterable is called."""
    closed = []

    class Parts(list):
        def close(self):
            closed.append(True)

    def app(environ, start_response):
        start_response("200 OK", OK)
        return Parts([b"x" * 1_000_000] * 100)

    served = serve(app, **SHORT)
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        end = time.monotonic() + 30
        while not closed and time.monotonic() < end:
            time.sleep(0.05)
    assert closed == [True]


def test_number_of_connections(serve):
    """More than allowed wait until others are closed."""
    served = serve(echo, connections=2)
    first, second, third = (served.connect() for _ in range(3))
    request = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
    with first, second, third:
        for connection in (first, second, third):
            connection.sendall(request)
        assert first.recv(1000) and second.recv(1000)
        third.settimeout(0.3)
        with pytest.raises(TimeoutError):
            third.recv(1000)
        third.settimeout(30)
        first.close()
        assert third.recv(1000).startswith(b"HTTP/1.1 200")
