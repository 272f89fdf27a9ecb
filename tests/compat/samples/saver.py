# Python 3, in the manner of 2015: a game that saves its actors by pickling their tasklets.
import copy
import pickle  # -> info pickle
import sys

import stackless as st
import stacklesslib.locks  # -> error stacklesslib
from stackless import stackless as itself
from stackless import tasklet as Microthread, pickle_flags as flags

sys.setrecursionlimit(100_000)  # -> info sys.setrecursionlimit

class Actor(st.tasklet):
    def __new__(cls, *args):
        return st.tasklet.__new__(cls)

    def save(self, file):
        if self.restorable:
            pickle.dump(self, file)
        return self.__reduce__()

    def move(self):
        self.__setstate__((0,))
        self.bind_thread()  # -> warning tasklet.bind_thread

class World:
    def __init__(self):
        self.clock = None
        self.clock = Microthread(self.tick)()
        self.inbox = st.channel()
        self.socket = open("x")

    def tick(self):
        for actor in self.actors():
            if actor.nesting_level == 0:  # -> info tasklet.nesting_level
                actor.cstate  # -> error tasklet.cstate
            self.socket.bind(("localhost", 80))
        self.socket.close()
        self.clock.__reduce_ex__(2)
        self.inbox.close()  # -> info close()
        self.inbox.__setstate__(())
        copy.copy(self.inbox)
        copy.copy({}).__reduce__()
        st.schedule_remove()
        st.schedule_remove()

    def actors(self):
        head = it = st.current
        while (it := it.next) is not head:
            yield it

    def freeze(self):
        old = itself.pickle_flags_default(st.PICKLEFLAGS_PICKLE_CONTEXT)
        itself.stackless.pickle_with_tracing_state = True
        st.enable_softswitch(False)  # -> warning stackless.enable_softswitch
        if hasattr(st, "_gc_untrack"):
            st._gc_untrack(self)  # -> info stackless._gc_untrack
        getattr(st, "_get_refinfo")()  # -> error stackless._get_refinfo
        getattr(st, "test_cframe", print)(1000)
        with st.atomic():  # -> warning stackless.atomic
            st.getcurrent().set_atomic(True)
        for t in st.uncollectables:
            t.kill()
        return old
