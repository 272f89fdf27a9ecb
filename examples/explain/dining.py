"""Five philosophers, five forks, and a deadlock whose error explains the cycle.

Each fork is a channel with one message: the philosopher that receives it has the fork. Each
philosopher takes the left fork, lets the others run, and then waits for the right one.
"""

import stackless


def lay(fork):
    fork.send("fork")


def philosopher(left, right):
    left.receive()
    stackless.schedule()
    right.receive()
    print("eats")


def main():
    forks = [stackless.channel() for _ in range(5)]
    for fork in forks:
        stackless.tasklet(lay)(fork)
    for seat in range(5):
        stackless.tasklet(philosopher)(forks[seat], forks[(seat + 1) % 5])
    stackless.run()
    print("All wait:")
    stackless.dump()
    # No tasklet is left that could send this.
    stackless.channel().receive()


if __name__ == "__main__":
    main()
