"""Programs with mistakes that a type checker finds: in each line that ends with "# wrong"."""

import stackless
from stackless import channel, run_tasklet, tasklet, to_thread


def fetch(url: str, timeout: float = 1.0) -> bytes:
    return url.encode()


numbers = channel[int]()
numbers.send("x")  # wrong
numbers.sending("x")  # wrong
numbers.send_sequence(["x"])  # wrong
text: str = numbers.receive()  # wrong
channel(maxsize=3)  # wrong
channel(3)  # wrong
channel[int](capacity="3")  # wrong

tasklet(fetch)(5)  # wrong
tasklet(fetch)()  # wrong
tasklet(fetch)("x", retries=3)  # wrong
number: int = tasklet(fetch)("x").join()  # wrong
run_tasklet(fetch, 5)  # wrong
number = run_tasklet(fetch, "x").join()  # wrong
to_thread(fetch)  # wrong
tasklet(5)  # wrong

text = stackless.alt(numbers).value  # wrong
stackless.alt(5)  # wrong
stackless.alt(numbers, default=3)  # wrong
