"""A server tasklet divides for its clients: requests and answers go through two channels.

The server never ends; it waits for the next request, and `run()` returns nevertheless.

    python examples/talk/divider.py
"""

import stackless


def divider(requests: stackless.channel, responses: stackless.channel) -> None:
    for x, y in requests:
        responses.send(x / y)


def client(x: int, y: int, requests: stackless.channel, responses: stackless.channel) -> None:
    requests.send((x, y))
    print(f"{x}/{y} = {responses.receive()}")


if __name__ == "__main__":
    requests, responses = stackless.channel(), stackless.channel()
    server = stackless.tasklet(divider)(requests, responses)
    stackless.tasklet(client)(8, 4, requests, responses)
    stackless.run()
    assert server.blocked
