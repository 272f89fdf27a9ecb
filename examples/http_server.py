"""An HTTP server in plain blocking style, with a tasklet for each connection.

    python examples/http_server.py [PORT]

/          answers with hello and the number of open connections
/wait      answers after a second, while other connections are served
/post      waits for a message and answers with it: open it in several windows ...
/post?hi   ... and then this one, which sends the message "hi" to all of them
"""

import http.server
import sys
import urllib.parse

import stackless
from stackless import servers


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # connections are kept alive
    timeout = 60  # seconds after which an idle connection is closed

    def setup(self) -> None:
        self.server.open += 1
        super().setup()

    def finish(self) -> None:
        self.server.open -= 1
        super().finish()

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        if url.path == "/":
            self.answer(f"hello, one of {self.server.open} connections\n")
        elif url.path == "/wait":
            stackless.sleep(1)
            self.answer("that was a second\n")
        elif url.path == "/post" and url.query:
            listeners = -self.server.news.balance
            for _ in range(listeners):
                self.server.news.send(url.query)
            self.answer(f"told {listeners}\n")
        elif url.path == "/post":
            self.answer(self.server.news.receive() + "\n")
        else:
            self.send_error(404)

    def answer(self, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(servers.TaskletHTTPServer):
    open = 0

    def server_bind(self) -> None:
        super().server_bind()
        self.news = stackless.channel()
        self.news.preference = 1  # the sender continues


if __name__ == "__main__":
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 8000
    with Server(("127.0.0.1", port), Handler) as server:
        print(f"http://127.0.0.1:{server.server_port}/", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("\nbye")
