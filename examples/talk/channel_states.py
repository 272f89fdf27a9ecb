"""A channel has no buffer: a sender waits in the channel until a tasklet receives.

The channel's state is shown before, while and after the sender waits; the receiver is preferred,
so it continues at once and ends before the sender says "Sent.".

    python examples/talk/channel_states.py
"""

import stackless


def sender(channel: stackless.channel) -> None:
    channel.send(5)
    print("Sent.")


def receiver(channel: stackless.channel) -> None:
    assert channel.receive() == 5
    show("received", channel)


def show(moment: str, channel: stackless.channel) -> None:
    waiting = channel.queue
    queue = "None" if waiting is None else f"a sender with {waiting.tempval}"
    print(f"{moment + ':':<10}balance {channel.balance}, queue {queue}")


if __name__ == "__main__":
    channel = stackless.channel()
    show("before", channel)

    waiting_sender = stackless.tasklet(sender)(channel)
    stackless.run()  # returns although the sender waits: no tasklet is left to run
    assert channel.queue is waiting_sender
    show("sending", channel)

    stackless.tasklet(receiver)(channel)
    stackless.run()
