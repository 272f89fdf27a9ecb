"""An uncaught exception of a tasklet goes to `run()`, not to the tasklet that waits for an answer.

The client's `except` never gets the server's error: the server ends, and the client waits forever.

    python examples/talk/divider_uncaught.py
"""

import traceback

import stackless


def divider(requests: stackless.channel, responses: stackless.channel) -> None:
    for x, y in requests:
        responses.send(x / y)


def client(x: int, y: int, requests: stackless.channel, responses: stackless.channel) -> None:
    requests.send((x, y))
    try:
        answer = responses.receive()
    except ZeroDivisionError:
        answer = None
    print(f"{x}/{y} = {answer}")


if __name__ == "__main__":
    requests, responses = stackless.channel(), stackless.channel()
    server = stackless.tasklet(divider)(requests, responses)
    waiting_client = stackless.tasklet(client)(8, 0, requests, responses)
    try:
        stackless.run()
    except ZeroDivisionError as error:
        where = traceback.extract_tb(error.__traceback__)[-1].name
        print(f"run() raised {type(error).__name__}: {error}, in {where}")
    print(f"the server is {'alive' if server.alive else 'dead'}")
    print(f"the client is {'blocked' if waiting_client.blocked else 'runnable'}")

    stackless.run()
    print(f"after another run() it is {'blocked' if waiting_client.blocked else 'runnable'}")
    assert responses.queue is waiting_client
