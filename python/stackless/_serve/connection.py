"""A connection: reads requests with httptools, and has them answered one after the other.

Nothing of the application runs inside the parser: its callbacks make `Exchange` objects, which wait
in a list until the parser has returned. While a request is answered nothing is read, except what
the application reads of its body.

Time limits are looked at by a tasklet of the server, which compares `deadline` with its clock. It
ends a wait by shutting the socket down: the wait then ends as if the client had closed.
"""

from __future__ import annotations

import contextlib
import socket as stock
import struct
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

import httptools

import stackless
from stackless._serve.exchange import ClientGone, Exchange, Refused

_NEVER = float("inf")
_SIZE = 16384
#: The application is called when bodies of up to this size have arrived.
_SMALL = 65536
#: Bytes and seconds for what a client still sends after the last answer; without reading it, the
#: system would reset the connection, and the answer could be lost.
_DRAIN, _DRAIN_SECONDS = 1 << 20, 2.0
#: Seconds for the first request of a connection that was accepted just before the server stops.
_LAST_SECONDS = 1.0

#: Name of a field -> key of environ; None for names that are dropped.
_keys: dict[bytes, str | None] = {
    b"Content-Type": "CONTENT_TYPE",
    b"Content-Length": "CONTENT_LENGTH",
}
_KEPT = 1024
_methods: dict[bytes, str] = {}
_100 = b"HTTP/1.1 100 Continue\r\n\r\n"


def _key_of(name: bytes) -> str | None:
    """Return the key of a field. Names with "_" are dropped: they could pass for ones with "-"."""
    key: str | None = None
    if b"_" not in name:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
    if len(_keys) < _KEPT and len(name) < 64:
        _keys[name] = key
    return key


class _BodyOnly:
    """The callbacks of a connection for the body of a request whose head it has."""

    def __init__(self, connection: Connection) -> None:
        self.on_body = connection.on_body
        self.on_message_complete = connection.on_message_complete


class Connection:
    """Serves one connection in the calling tasklet: see `run()`."""

    def __init__(self, server: Any, sock: Any, address: Any, template: dict[str, Any]) -> None:
        self.server = server
        self.settings = server.settings
        self.application = server.application
        self.access = server.access
        self.socket = sock
        self.address = address
        self.template = template
        self.environ = template
        self.queue: list[Exchange] = []
        self.incoming: Exchange | None = None
        self.deadline = _NEVER
        self.idle = True  # no request has come in part only
        self.answered = False  # a request has come
        self.held = False  # a request with a small body waits for the rest of it
        self.sending = False  # waits until the client takes more
        self.at_once: int = stock.MSG_DONTWAIT  # flags of send(); TLS allows none
        self.late = False  # its deadline was not kept
        self.gone = False  # the client will get no more
        self.refusal: int | None = None
        self.repeated = 0  # fields of the head that is read whose names came before
        self.unseen = 0  # bytes since the parser has last reported something

    # ---------------------------------------------------------------- the parser's callbacks

    def on_message_begin(self) -> None:
        self.idle = False
        self.environ = self.template.copy()
        self.url = b""

    def on_url(self, part: bytes) -> None:
        self.url += part
        if len(self.url) > self.settings.max_line:
            raise Refused(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        try:
            key = _keys[name]
        except KeyError:
            key = _key_of(name)
        environ = self.environ
        if key in environ:
            key, joined = self._repeated(name, key, value)
            environ[key] = joined
        elif key is not None:
            environ[key] = str(value, "latin-1")

    def _repeated(self, name: bytes, key: Any, value: bytes) -> tuple[str, str]:
        if key in ("HTTP_HOST", "CONTENT_LENGTH", "CONTENT_TYPE", "HTTP_TRANSFER_ENCODING"):
            raise Refused(400)
        self.repeated += 1
        between = "; " if key == "HTTP_COOKIE" else ", "
        return key, f"{self.environ[key]}{between}{value.decode('latin-1')}"

    def on_headers_complete(self) -> None:
        parser, environ = self.parser, self.environ
        settings = self.settings
        fields = len(environ) - len(self.template) + self.repeated
        if fields > settings.max_fields or self.unseen > settings.max_head:
            self._check_size(fields, settings)
        self.unseen = self.repeated = 0
        self.incoming = exchange = Exchange(self, environ)
        method = parser.get_method()
        try:
            environ["REQUEST_METHOD"] = _methods[method]
        except KeyError:
            environ["REQUEST_METHOD"] = _methods[method] = method.decode("ascii")
        if method == b"HEAD":
            exchange.head_only = True
        target = str(self.url, "latin-1")
        environ["REQUEST_URI"] = target
        path, _, query = target.partition("?")
        environ["QUERY_STRING"] = query
        if path[:1] != "/" or "#" in target:
            path = self._unusual_target(environ, method, target)
        if "%" in path:
            path = unquote_to_bytes(path.encode("latin-1")).decode("latin-1")
        environ["PATH_INFO"] = path
        keep = parser.should_keep_alive()
        # Only HTTP/1.1 keeps a connection without being told to; asking for the version takes time.
        if keep and "HTTP_CONNECTION" not in environ:
            version = "1.1"
        else:
            version = parser.get_http_version()
        if version != "1.1":
            self._other_version(exchange, environ, version)
        elif "HTTP_HOST" not in environ:
            raise Refused(400)
        if not keep or not settings.keep_alive:
            exchange.keep = False
        if "CONTENT_LENGTH" in environ or "HTTP_TRANSFER_ENCODING" in environ:
            self._expect_body(exchange, environ, settings)
        else:
            self.queue.append(exchange)

    def _check_size(self, fields: int, settings: Any) -> None:
        """Refuse a head that is too large. What was read with it may be the next request."""
        size = sum(
            len(key) + len(value) for key, value in self.environ.items() if key[:5] == "HTTP_"
        )
        if fields > settings.max_fields or size > settings.max_head:
            raise Refused(431)

    def _unusual_target(self, environ: dict[str, Any], method: bytes, target: str) -> str:
        target = target.partition("#")[0]
        if target[:1] == "/":
            path, _, environ["QUERY_STRING"] = target.partition("?")
            return path
        if target == "*" and method == b"OPTIONS":
            return ""
        if method == b"CONNECT":
            raise Refused(501)
        try:
            parts = urlsplit(target)
        except ValueError:
            raise Refused(400) from None
        if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
            raise Refused(400)
        if "HTTP_HOST" in environ or environ["SERVER_PROTOCOL"] != "HTTP/1.1":
            environ["HTTP_HOST"] = parts.netloc  # RFC 9112, section 3.2.2
        environ["QUERY_STRING"] = parts.query
        return parts.path or "/"

    def _other_version(self, exchange: Exchange, environ: dict[str, Any], version: str) -> None:
        if version != "1.0":
            raise Refused(505)
        exchange.new = False
        environ["SERVER_PROTOCOL"] = "HTTP/1.0"

    def _expect_body(self, exchange: Exchange, environ: dict[str, Any], settings: Any) -> None:
        coding = environ.get("HTTP_TRANSFER_ENCODING")
        length = environ.get("CONTENT_LENGTH", "0")
        if coding is not None:
            # A second server behind another one must not see other requests than the first.
            if not exchange.new or "CONTENT_LENGTH" in environ:
                raise Refused(400)
            if coding.lower() != "chunked":
                raise Refused(501)
            self.environ = {}  # trailers go there
        elif not (length.isascii() and length.isdecimal()):
            raise Refused(400)
        elif int(length) > settings.max_body:
            raise Refused(413)
        exchange.parts = []
        exchange.expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue" and exchange.new
        if coding is None and int(length) <= _SMALL and not exchange.expects:
            self.held = True  # the application need not wait for it
        else:
            self.queue.append(exchange)

    def on_body(self, part: bytes) -> None:
        exchange: Any = self.incoming
        exchange.parts.append(part)
        exchange.received += len(part)
        exchange.expects = False
        self.unseen = 0
        if exchange.received > self.settings.max_body:
            raise Refused(413)

    def on_message_complete(self) -> None:
        exchange: Any = self.incoming
        exchange.complete = self.idle = self.answered = True
        exchange.expects = False
        self.unseen = 0
        if self.held:
            self.held = False
            self.queue.append(exchange)

    # ---------------------------------------------------------------- reading and sending

    def _fill(self) -> bool:
        """Wait for data and parse them; False when the client sends no more, or is refused."""
        try:
            data = self.socket.recv(_SIZE)
        except OSError:
            self.gone = True
            return False
        if not data:
            if self.late and not self.idle:
                self.refusal = 408
            return False
        self.unseen += len(data)
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                self._ignore_upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            called = isinstance(error, httptools.HttpParserCallbackError)
            cause = error.__context__ if called else None
            self.refusal = cause.status if isinstance(cause, Refused) else 400
            if cause is not None and not isinstance(cause, Refused):
                self.server.log.error("Error in a request", exc_info=cause)
                self.refusal = 500
            # A request of which only the head was right is not answered by the application.
            if self.queue and not self.queue[-1].complete:
                self.queue.pop()
            return False
        if self.unseen > self.settings.max_head:
            self.refusal = 400 if self.incoming is not None and not self.incoming.complete else 431
            return False
        return True

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Go on as if the request did not ask for another protocol; it is the last one.

        The parser has ended after the head. `rest` is what came after it.
        """
        exchange: Any = self.incoming
        environ = exchange.environ
        exchange.keep = False
        if "HTTP_TRANSFER_ENCODING" in environ:
            field = b"Transfer-Encoding: chunked"
        else:
            field = b"Content-Length: %d" % int(environ.get("CONTENT_LENGTH", 0))
        exchange.complete = self.idle = False
        if exchange not in self.queue:
            self.queue.append(exchange)
        self.held = False
        self.parser = httptools.HttpRequestParser(_BodyOnly(self))
        self.parser.feed_data(b"POST / HTTP/1.1\r\n%b\r\n\r\n" % field)
        if rest and not exchange.complete:
            self.parser.feed_data(rest)

    def fill_body(self, exchange: Exchange) -> None:
        """Wait for more of a body, for `Input`. ClientGone if there will be no more."""
        if exchange.expects and not exchange.begun:
            exchange.expects = False
            self.send(_100)
        if self.refusal is None and not self.gone:
            self.deadline = self.server.clock.now + self.settings.body_timeout
            filled = self._fill()
            self.deadline = _NEVER
            if filled:
                return
            if self.refusal is None:
                self.gone = True
        why = f"refused with {self.refusal}" if self.refusal else "the client is gone"
        raise ClientGone(f"the body of the request ends early: {why}")

    def send(self, data: bytes) -> None:
        """Send a part of an answer. ClientGone if that is not possible, or takes too long."""
        if self.gone:
            raise ClientGone("the client is gone")
        try:
            sent = self.socket.send(data, self.at_once)
            if sent != len(data):
                self._send_slowly(memoryview(data)[sent:])
        except BlockingIOError:
            self._send_slowly(memoryview(data))
        except ClientGone:
            raise
        except OSError as error:
            self.gone = True
            raise ClientGone(f"the client is gone: {error}") from None

    def _send_slowly(self, data: memoryview) -> None:
        clock, settings = self.server.clock, self.settings
        self.sending = True
        try:
            while data:
                self.deadline = clock.now + settings.send_timeout
                data = data[self.socket.send(data) :]
        except OSError as error:
            self.gone = True
            why = "it takes too long" if self.late else error
            raise ClientGone(f"the client is gone: {why}") from None
        finally:
            self.deadline = _NEVER
            self.sending = False

    def abort(self) -> None:
        """Let the client see that an answer is not complete."""
        self.gone = True
        with contextlib.suppress(OSError):
            self.socket.setsockopt(stock.SOL_SOCKET, stock.SO_LINGER, struct.pack("ii", 1, 0))

    # ---------------------------------------------------------------- from outside

    def expire(self) -> None:
        """End a wait whose time is over: called by the server's tasklet for time limits."""
        self.deadline = _NEVER
        self.late = True
        self._shut(stock.SHUT_RDWR if self.sending else stock.SHUT_RD)

    def stop(self) -> None:
        """Close the connection once it waits for no part of a request, and its answers are sent.

        A client that has just connected has a short time for its request: it would take a closed
        connection for a server that is down.
        """
        if self.idle and self.answered:
            self._shut(stock.SHUT_RD)
        elif self.idle:
            self.deadline = min(self.deadline, self.server.clock.now + _LAST_SECONDS)

    def _shut(self, how: int) -> None:
        with contextlib.suppress(OSError):
            # Not that of TLS sockets, which would end TLS.
            stock.socket.shutdown(self.socket, how)

    # ---------------------------------------------------------------- the tasklet

    def run(self) -> None:
        """Serve the connection until it is closed."""
        server = self.server
        try:
            seconds = _LAST_SECONDS if server.stopping else self.settings.header_timeout
            self.deadline = server.clock.now + seconds
            if server.tls is not None and not self._start_tls():
                return
            self.parser = httptools.HttpRequestParser(self)
            self._converse()
        except stackless.TaskletExit:
            pass  # the server has stopped
        except Exception:
            server.log.exception("Error in a connection")
        finally:
            self.deadline = _NEVER
            try:
                self.socket.close()
            except OSError:
                pass
            server.closed(self)

    def _start_tls(self) -> bool:
        self.at_once = 0
        try:
            # In two steps: expire() must find the socket of TLS during the handshake.
            self.socket = self.server.tls.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
            self.socket.do_handshake()
        except OSError as error:
            self.server.log.debug("TLS with %s failed: %s", self.address, error)
            return False
        return True

    def _converse(self) -> None:
        server, queue, settings = self.server, self.queue, self.settings
        clock, context = server.clock, server.context
        set_context = stackless.getcurrent().set_context
        while True:
            while queue:
                exchange = queue.pop(0)
                self.deadline = _NEVER
                set_context(context.copy())
                exchange.respond()
                if not exchange.keep or self.gone:
                    if not exchange.complete or queue:
                        self._drain()
                    return
            if self.refusal is not None:
                self._refuse(self.refusal)
                return
            if server.stopping and self.idle and self.answered:
                return
            was_idle = self.idle
            if self.deadline == _NEVER:  # not the first request
                seconds = settings.keep_alive if was_idle else settings.header_timeout
                self.deadline = clock.now + seconds
            if not self._fill():
                if not queue and self.refusal is None:
                    return
            elif self.held:
                self.deadline = clock.now + settings.body_timeout
            elif was_idle and self.answered:
                self.deadline = clock.now + settings.header_timeout

    def _refuse(self, status: int) -> None:
        """Answer what is no request, or none that is allowed."""
        self.deadline = _NEVER
        exchange = Exchange(self, self.environ or self.template)
        exchange.answer(status)
        if self.access is not None:
            self.access.add(exchange.environ, str(status), exchange.written)
        self._drain()

    def _drain(self) -> None:
        """Read what the client still sends, for a short time, so that it gets the answer."""
        if self.gone:
            return
        self._shut(stock.SHUT_WR)
        self.deadline = self.server.clock.now + _DRAIN_SECONDS
        left = _DRAIN
        with contextlib.suppress(OSError):
            while left > 0 and (data := self.socket.recv(_SIZE)):
                left -= len(data)
