"""One tasklet: a function call that starts when its turn comes.

Making the tasklet runs nothing; `stackless.run()` runs everything that is ready and then returns.

    python examples/talk/hello.py
"""

import stackless


def say(text: str) -> None:
    print(text)


if __name__ == "__main__":
    stackless.tasklet(say)("Hello, PyCon 2007!")
    stackless.run()
