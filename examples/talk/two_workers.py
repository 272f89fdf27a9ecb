"""A tasklet that hops between two processes, at each level of its recursion."""

from stackless import cluster


def factorial(n, workers, seen):
    cluster.go(workers[n % 2])
    seen.append(f"factorial({n}) on {cluster.here().name}")
    return 1 if n == 0 else n * factorial(n - 1, workers, seen)


def hop(n, workers):
    seen = []
    return factorial(n, workers, seen), seen


with cluster.connect(workers=2) as c:
    result, seen = c.spawn(hop, 4, ["worker-0", "worker-1"]).join()
    print(*seen, f"4! is {result}", sep="\n")
