"""An importable module whose functions the tests pickle."""

counter = 0


def count():
    global counter
    counter += 1
    return counter


def make_counter():
    def step():
        global counter
        counter += 10
        return counter

    return step


def decorated(function):
    return function


class Plain:
    def method(self):
        return "method"

    shout = lambda self: "SHOUT"  # noqa: E731


class OnlyItems:
    """`iter` goes through its items by index."""

    def __getitem__(self, index):
        return "abc"[index]
