"""What PEP 3333 asks of a server: checked by wsgiref.validate, and rule by rule."""

import io
import sys
import time
from wsgiref.validate import validator

import pytest
from stackless import sync
from stackless.integrations import wsgi

OK = [("Content-Type", "text/plain")]


def body_of(answer):
    return answer.partition(b"\r\n\r\n")[2]


def head_of(answer):
    return answer.partition(b"\r\n\r\n")[0]


def answering(*parts, status="200 OK", headers=OK):
    def app(environ, start_response):
        start_response(status, list(headers))
        return list(parts)

    return app


@pytest.mark.parametrize(
    "request_text",
    [
        b"GET /a/b?c=d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 3\r\n"
        b"Content-Type: a/b\r\n\r\nabc",
        b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n0\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
    ],
)
def test_validator_agrees(serve, request_text):
    """The validator of the standard library, between server and application."""

    def app(environ, start_response):
        data = environ["wsgi.input"].read(100)
        start_response("200 OK", OK)
        return [b"got ", data]

    answer = serve(validator(app)).ask(request_text)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    if not request_text.startswith(b"HEAD"):
        assert b"got " in answer


def test_environ(serve):
    """Names and values for an unusual request."""
    seen = {}

    def app(environ, start_response):
        seen.update(environ)
        return answering(b"")(environ, start_response)

    served = serve(app)
    served.get(b"/%C3%A9%2F?q=%20", b"X-One: 1", b"X-Twice: a", b"X-Twice: b", b"X_Under: no",
               b"Cookie: a=1", b"Cookie: b=2")  # fmt: skip
    expected = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": "/\xc3\xa9/",
        "QUERY_STRING": "q=%20",
        "REQUEST_URI": "/%C3%A9%2F?q=%20",
        "SCRIPT_NAME": "",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "x",
        "HTTP_X_ONE": "1",
        "HTTP_X_TWICE": "a, b",
        "HTTP_COOKIE": "a=1; b=2",
        "REMOTE_ADDR": "127.0.0.1",
        "wsgi.url_scheme": "http",
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    assert {name: seen.get(name) for name in expected} == expected
    assert "HTTP_X_UNDER" not in seen and "CONTENT_LENGTH" not in seen
    assert seen["SERVER_PORT"] == str(served.address[1]) and type(seen) is dict


def test_whole_target_and_asterisk(serve):
    """An absolute target replaces Host; "*" has no path."""

    def app(environ, start_response):
        text = f"{environ['HTTP_HOST']} {environ['PATH_INFO']!r} {environ['QUERY_STRING']}"
        return answering(text.encode())(environ, start_response)

    served = serve(app)
    asked = b"GET http://other:1/p?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert body_of(served.ask(asked)) == b"other:1 '/p' q"
    asked = b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    assert body_of(served.ask(asked)) == b"x '' "


def test_start_response_with_exc_info(serve):
    """It replaces the head before anything was sent, and raises the error afterwards."""

    def app(environ, start_response):
        write = start_response("200 OK", [*OK, ("X-First", "1")])
        if environ["PATH_INFO"] == "/sent":
            write(b"begun")
        try:
            raise KeyError("reason")
        except KeyError:
            start_response("503 Busy", OK, sys.exc_info())
        return [b"replaced"]

    served = serve(app)
    answer = served.get(b"/")
    assert answer.startswith(b"HTTP/1.1 503 Busy\r\n") and b"X-First" not in answer
    assert body_of(answer) == b"replaced"
    assert b"replaced" not in served.get(b"/sent")
    assert "KeyError: 'reason'" in "".join(served.logged)


def test_start_response_twice(serve):
    """Without exc_info it is an error of the application."""

    def app(environ, start_response):
        start_response("200 OK", OK)
        start_response("200 OK", OK)
        return [b""]

    served = serve(app)
    assert served.get().startswith(b"HTTP/1.1 500 ")
    assert "called before" in "".join(served.logged)


def answer_in_parts(served, part, event):
    """Set the event when this part has come; return the whole answer."""
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        got = b""
        while part not in got and (more := connection.recv(1000)):
            got += more
        event.set()
        while more := connection.recv(1000):
            got += more
    return got


def test_write_sends_at_once(serve):
    """Before the application has returned; what it returns follows."""

    sent = sync.Event()

    def app(environ, start_response):
        write = start_response("200 OK", OK)
        write(b"first")
        assert sent.wait(30)
        return [b"second"]

    served = serve(app)
    got = answer_in_parts(served, b"first", sent)
    assert body_of(got) == b"5\r\nfirst\r\n6\r\nsecond\r\n0\r\n\r\n"


def test_each_part_is_sent_before_the_next_is_asked_for(serve):
    """PEP 3333: a server must not delay a part."""

    go_on = sync.Event()

    def app(environ, start_response):
        start_response("200 OK", OK)
        yield b"one"
        assert go_on.wait(30)
        yield b""
        yield b"two"

    served = serve(app)
    got = answer_in_parts(served, b"one", go_on)
    assert body_of(got) == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


class Closing:
    """An iterable that counts calls of close()."""

    def __init__(self, parts):
        self.parts, self.closed = parts, 0

    def __iter__(self):
        for part in self.parts:
            if isinstance(part, Exception):
                raise part
            yield part

    def close(self):
        self.closed += 1


@pytest.mark.parametrize(
    "parts", [[b"a", b"b"], [], [ValueError()], [b"a", ValueError()], ["text"]]
)
def test_close_is_called_once(serve, parts):
    """After the last part, and after an error."""
    result = Closing(parts)

    def app(environ, start_response):
        start_response("200 OK", OK)
        return result

    serve(app).get()
    assert result.closed == 1


def test_close_is_called_when_the_client_goes_away(serve):
    parts = [b"x" * 100_000] * 1000
    result = Closing(parts)

    def app(environ, start_response):
        start_response("200 OK", OK)
        return result

    served = serve(app)
    with served.connect() as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        connection.recv(10)
    end = time.monotonic() + 30
    while not result.closed and time.monotonic() < end:
        time.sleep(0.01)
    assert result.closed == 1
    assert "Error" not in "".join(served.logged)


@pytest.mark.parametrize(
    ("parts", "length"), [([], b"0"), ([b"abc"], b"3"), ([b"ab", b"", b"c"], b"3")]
)
def test_length_of_a_list_is_known(serve, parts, length):
    answer = serve(answering(*parts)).get()
    assert b"\r\nContent-Length: " + length + b"\r\n" in answer and b"chunked" not in answer
    assert body_of(answer) == b"".join(parts)


def test_http_1_0_has_no_chunks(serve):
    """The end of the connection ends the body, unless its length is known."""

    def app(environ, start_response):
        start_response("200 OK", OK)
        yield b"one"
        yield b"two"

    answer = serve(app).ask(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert body_of(answer) == b"onetwo" and b"chunked" not in answer
    assert b"Connection: close" in answer


def test_http_1_0_can_keep_connections(serve):
    served = serve(answering(b"abc"))
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    answer = served.ask(request + b"GET / HTTP/1.0\r\n\r\n")
    assert answer.count(b"abc") == 2 and answer.count(b"Connection: keep-alive") == 1


@pytest.mark.parametrize("headers", [OK, [*OK, ("Content-Length", "3")]])
@pytest.mark.parametrize("status", ["204 No Content", "304 Not Modified"])
def test_answers_without_a_body(serve, status, headers):
    """Nothing follows the head; the connection can be used again."""
    served = serve(answering(b"abc", status=status, headers=headers))
    request = b"GET / HTTP/1.1\r\nHost: x\r\n"
    answer = served.ask(request + b"\r\n" + request + b"Connection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 " + status.encode()) == 2 and b"abc" not in answer
    assert b"chunked" not in answer
    assert (b"Content-Length" in answer) == (len(headers) == 2 and status.startswith("304"))


@pytest.mark.parametrize("parts", [[b"abc"], []])
def test_head(serve, parts):
    """The same head as for GET, if the application gives or returns what is needed; no body."""
    served = serve(answering(*parts, headers=[*OK, ("Content-Length", "3")]))
    answer = served.ask(b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert b"\r\nContent-Length: 3\r\n" in answer and body_of(answer) == b""


@pytest.mark.parametrize(
    ("parts", "length", "body"), [([b"abcdef"], "3", b"abc"), ([b"ab", b"cdef"], "3", b"abc")]
)
@pytest.mark.parametrize("as_list", [True, False])
def test_more_than_content_length_is_cut(serve, parts, length, body, as_list):
    def app(environ, start_response):
        start_response("200 OK", [*OK, ("Content-Length", length)])
        return parts if as_list else iter(parts)

    served = serve(app)
    assert body_of(served.get()) == body
    assert "longer than its Content-Length" in "".join(served.logged)


@pytest.mark.parametrize("as_list", [True, False])
def test_less_than_content_length_closes(serve, as_list):
    """The client must not take the next answer for the rest of this one."""

    def app(environ, start_response):
        start_response("200 OK", [*OK, ("Content-Length", "10")])
        return [b"abc"] if as_list else iter([b"abc"])

    served = serve(app)
    answer = served.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 2)
    assert answer.count(b"HTTP/1.1") == 1
    assert "Content-Length is 10" in "".join(served.logged)


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        ("200 OK\r\nX: y", OK),
        ("OK", OK),
        ("100 Continue", OK),
        (200, OK),
        ("200 OK", [("X", "a\r\nSet-Cookie: b")]),
        ("200 OK", [("X", "a\nb")]),
        ("200 OK", [("X", "a\0b")]),
        ("200 OK", [("X: y\r\nZ", "a")]),
        ("200 OK", [("", "a")]),
        ("200 OK", [("X Y", "a")]),
        ("200 OK", [("X", 3)]),
        ("200 OK", [["X", "a"]]),
        ("200 OK", [("X", "\u20ac")]),
        ("200 OK", [("Content-Length", "-1")]),
        ("200 OK", [("Content-Length", "1"), ("Content-Length", "2")]),
    ],
)
def test_bad_heads_are_refused(serve, status, headers):
    """An error of the application: nothing of it is sent, and the log says what is wrong."""
    served = serve(answering(b"body", status=status, headers=headers))
    for _ in range(2):  # nor when it comes again
        answer = served.get()
        assert answer.startswith(b"HTTP/1.1 500 ") and b"Set-Cookie" not in answer
    assert "Traceback" in "".join(served.logged)


def test_fields_of_the_connection_are_the_servers(serve):
    """Connection: close is obeyed, others are dropped."""
    headers = [("Connection", "keep-alive"), ("Transfer-Encoding", "gzip"), ("Keep-Alive", "3")]
    served = serve(answering(b"abc", headers=headers))
    head = head_of(served.get())
    assert b"gzip" not in head and b"eep-" not in head and head.count(b"Connection") == 1
    served = serve(answering(b"abc", headers=[("Connection", "close")]))
    assert served.ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").endswith(b"abc")


@pytest.mark.parametrize("kind", ["file", "bytes", "pipe"])
def test_file_wrapper(serve, tmp_path, kind):
    """Its blocks are sent; the length of a file is known; it is closed."""
    content = bytes(range(256)) * 1000
    (tmp_path / "file").write_bytes(content)
    opened = []

    def app(environ, start_response):
        start_response("200 OK", OK)
        made = open(tmp_path / "file", "rb") if kind == "file" else io.BytesIO(content)
        made.seek(10)
        opened.append(made)
        wrapper = environ["wsgi.file_wrapper"](made, 1000)
        return wrapper if kind != "pipe" else iter(wrapper)

    answer = serve(app).get()
    if kind == "file":
        assert b"\r\nContent-Length: %d\r\n" % (len(content) - 10) in answer
        assert body_of(answer) == content[10:]
    else:
        assert answer.endswith(content[-100:] + b"\r\n0\r\n\r\n")
    assert opened[0].closed == (kind != "pipe")


@pytest.mark.parametrize("error", [ValueError("text of the error"), SystemExit(3), GeneratorExit()])
@pytest.mark.parametrize("when", ["call", "iteration"])
def test_errors_of_the_application(serve, error, when):
    """500, a traceback in the log, and the next request is served."""

    def app(environ, start_response):
        if environ["PATH_INFO"] == "/good":
            return answering(b"good")(environ, start_response)
        if when == "call":
            raise error

        def parts():
            start_response("200 OK", OK)
            raise error
            yield b""

        return parts()

    served = serve(app)
    assert served.get(b"/bad").startswith(b"HTTP/1.1 500 Internal Server Error\r\n")
    assert "GET '/bad'" in "".join(served.logged)
    assert type(error).__name__ in "".join(served.logged) and "Traceback" in "".join(served.logged)
    assert body_of(served.get(b"/good")) == b"good"


def test_error_after_the_beginning(serve):
    """The client sees that the answer is not complete."""

    def app(environ, start_response):
        start_response("200 OK", OK)
        yield b"begun"
        raise ValueError

    served = serve(app)
    answer = served.get()
    assert b"0\r\n\r\n" not in answer and b"500" not in answer
    assert "ValueError" in "".join(served.logged)


@pytest.mark.parametrize("returned", [None, b"bytes", "text", ["text"], [b"a", "text"], 7])
def test_wrong_results(serve, returned):
    """What is no iterable of bytes is an error. (`bytes` is an iterable of numbers.)"""

    def app(environ, start_response):
        start_response("200 OK", OK)
        return returned

    served = serve(app)
    answer = served.get()
    assert b" 500 " in answer.partition(b"\r\n")[0] or b"0\r\n\r\n" not in answer
    assert "TypeError" in "".join(served.logged)


def test_without_start_response(serve):
    served = serve(lambda environ, start_response: [b"abc"])
    assert served.get().startswith(b"HTTP/1.1 500 ")
    assert "start_response() was not called" in "".join(served.logged)


def test_context_belongs_to_the_request(serve):
    """What one request sets, the next of the same connection does not see."""
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")

    def app(environ, start_response):
        before = variable.get()
        variable.set(environ["PATH_INFO"])
        return answering(before.encode())(environ, start_response)

    served = serve(app)
    request = b"GET /a HTTP/1.1\r\nHost: x\r\n"
    assert (
        served.ask(request + b"\r\n" + request + b"Connection: close\r\n\r\n").count(b"unset") == 2
    )


def test_wrong_arguments():
    with pytest.raises(TypeError, match="callable"):
        wsgi.Server("module:app")
    with pytest.raises(TypeError, match="connections must be a number"):
        wsgi.Settings(connections="many")
    with pytest.raises(ValueError, match="workers must be at least 1"):
        wsgi.Settings(workers=0)
    with pytest.raises(ValueError, match="not an address: 'nowhere'"):
        wsgi.Server(answering(), bind="nowhere")
    with pytest.raises(OSError, match="cannot listen on 203.0.113.1:1"):
        wsgi.Server(answering(), bind="203.0.113.1:1")
