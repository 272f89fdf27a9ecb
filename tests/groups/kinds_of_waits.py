"""The calls that can wait: functions that wait for ever, by what they wait for."""

import socket as plain_socket
import time

import stackless
import stackless.socket
from stackless import sync


def forever():
    stackless.channel().receive()


def beside_a_sleeper(wait):
    sleeper = stackless.tasklet(stackless.sleep)(60)
    try:
        return wait(sleeper)
    finally:
        sleeper.kill()


def receive_from_socket():
    ours, theirs = plain_socket.socketpair()
    with ours, theirs, stackless.socket.fromfd(ours.fileno(), ours.family, ours.type) as sock:
        sock.recv(1)


def locked():
    lock = sync.Lock()
    lock.acquire()
    return lock


def wait_for_condition():
    condition = sync.Condition()
    with condition:
        condition.wait()


def full_queue():
    queue = sync.Queue(1)
    queue.put(1)
    return queue


def full_channel():
    ch = stackless.channel(capacity=1)
    ch.send(1)
    return ch


WAITS = {
    "receive": forever,
    "receive with timeout": lambda: stackless.channel().receive(timeout=60),
    "send": lambda: stackless.channel().send(1),
    "iterate": lambda: list(stackless.channel()),
    "sleep": lambda: stackless.sleep(60),
    "sleep(0)": lambda: stackless.sleep(0),
    "schedule": stackless.schedule,
    "schedule_remove": stackless.schedule_remove,
    "to_thread": lambda: stackless.to_thread(time.sleep, 0.01),
    "run": lambda: beside_a_sleeper(lambda sleeper: stackless.run()),
    "join": lambda: beside_a_sleeper(lambda sleeper: sleeper.join()),
    "switch": lambda: beside_a_sleeper(lambda sleeper: sleeper.switch()),
    "recv": receive_from_socket,
    "lock": lambda: locked().acquire(),
    "condition": wait_for_condition,
    "event": lambda: sync.Event().wait(),
    "semaphore": lambda: sync.Semaphore(0).acquire(timeout=60),
    "queue": lambda: sync.Queue().get(),
    "full queue": lambda: full_queue().put(2),
    "alt": lambda: stackless.alt(stackless.channel().receiving(), timeout=60),
    "full channel": lambda: full_channel().send(2),
}
