"""A client for the part of the Debug Adapter Protocol that a test needs."""

import json
import socket


class Client:
    """A connection to debugpy's adapter; each wait ends after `timeout` seconds with an error."""

    def __init__(self, port, timeout=60):
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self._file = self._socket.makefile("rb")
        self._sent = 0
        self._kept = []

    def close(self):
        self._file.close()
        self._socket.close()

    def _send(self, command, arguments):
        self._sent += 1
        body = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(body).encode()
        self._socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(data), data))
        return self._sent

    def _read(self):
        length = 0
        while line := self._file.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        assert length, "the adapter has closed the connection"
        return json.loads(self._file.read(length))

    def _find(self, fits):
        for at, message in enumerate(self._kept):
            if fits(message):
                return self._kept.pop(at)
        while not fits(message := self._read()):
            self._kept.append(message)
        return message

    def request(self, command, **arguments):
        """Send a request; return the body of the answer."""
        return self.answer(self.post(command, **arguments))

    def post(self, command, **arguments):
        """Send a request; return its number for `answer`."""
        return self._send(command, arguments)

    def answer(self, number):
        message = self._find(lambda m: m["type"] == "response" and m["request_seq"] == number)
        assert message["success"], message
        return message.get("body", {})

    def event(self, *names):
        """Wait for the next event of one of these names, as (name, body)."""
        message = self._find(lambda m: m["type"] == "event" and m["event"] in names)
        return message["event"], message.get("body", {})
