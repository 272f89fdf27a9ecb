"""A server forwards its errors: it sends the exception to the client, where it is raised.

There are three ways to do that: a class with arguments, an instance, or one with its traceback.

    python examples/talk/divider_forwarded.py [--send class|instance|traceback]
"""

import argparse
import sys
import traceback

import stackless


def divider(requests: stackless.channel, responses: stackless.channel, how: str) -> None:
    for x, y in requests:
        try:
            responses.send(x / y)
        except ZeroDivisionError as error:
            match how:
                case "class":
                    responses.send_exception(ZeroDivisionError, *error.args)
                case "instance":
                    responses.send_exception(error)
                case "traceback":
                    responses.send_throw(*sys.exc_info())


def client(
    x: int, y: int, requests: stackless.channel, responses: stackless.channel, how: str
) -> None:
    requests.send((x, y))
    try:
        answer = responses.receive()
    except ZeroDivisionError as error:
        answer = None
        if how == "traceback":
            where = traceback.extract_tb(error.__traceback__)[-1].name
            print(f"{error}, raised in {where}")
    print(f"{x}/{y} = {answer}")


def main(how: str) -> None:
    requests, responses = stackless.channel(), stackless.channel()
    stackless.tasklet(divider)(requests, responses, how)
    stackless.tasklet(client)(8, 0, requests, responses, how)
    stackless.run()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Send a server's error to its client.")
    parser.add_argument("--send", choices=["class", "instance", "traceback"], default="class")
    main(parser.parse_args().send)
