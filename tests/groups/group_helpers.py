"""Functions for tasklets of groups, for the tests of this folder."""

import stackless


def forever():
    stackless.channel().receive()


def fail(error):
    raise error


class Log(list):
    """What tasklets did."""

    def sleeper(self, name, seconds=0.001):
        """Sleep; note how that ended."""
        try:
            stackless.sleep(seconds)
            self.append(name)
        except BaseException as error:
            self.append((name, type(error)))
            raise
        return name


def group_with(function, *arguments):
    with stackless.TaskGroup() as group:
        group.start(function, *arguments)
