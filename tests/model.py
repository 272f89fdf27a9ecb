"""A naive model of one thread's ring and channels, written from the contract alone.

The ring is a list that starts with the current tasklet. A tasklet is a generator that yields the
operations it wants done: `(name, argument, ...)`. The same generators drive the real thing, so that
both can be compared event by event. Main is the tasklet MAIN; only main calls `run()`.
"""

MAIN = "main"

DEADLOCK = RuntimeError("Deadlock: the last runnable tasklet cannot be blocked.")
CLOSED = ValueError("Send/receive operation on a closed channel")
TRAPPED = RuntimeError("this tasklet does not like to be blocked.")
RUN_BLOCKED = RuntimeError("You cannot run a blocked tasklet")
RUN_DEAD = RuntimeError("You cannot run an unbound(dead) tasklet")
REMOVE_BLOCKED = RuntimeError("You cannot remove a blocked tasklet.")
REMOVE_CURRENT = RuntimeError("The current tasklet cannot be removed.")
THROW_DEAD = RuntimeError("You cannot throw to a dead tasklet")
MAIN_RECEIVES = RuntimeError("the main tasklet is receiving without a sender available.")
MAIN_SENDS = RuntimeError("the main tasklet is sending without a receiver available.")

SEND, RECEIVE = 1, -1


class Exit(BaseException):
    """Stands for TaskletExit."""


class Tasklet:
    def __init__(self, name, body):
        self.name = name
        self.body = body
        self.started = False
        self.alive = True
        self.sending = None  # the value it waits with in a channel
        self.channel = None  # the channel it is blocked on
        self.iterating = False  # blocked there in iteration
        self.block_trap = False
        self.outcome = ("value", None)  # what its pending call will give


class Channel:
    def __init__(self, preference, schedule_all):
        self.preference = preference
        self.schedule_all = schedule_all
        self.closing = False
        self.queue = []
        self.kind = 0  # SEND or RECEIVE, while the queue is not empty

    @property
    def balance(self):
        return self.kind * len(self.queue)

    def append(self, tasklet, kind):
        self.queue.append(tasklet)
        self.kind = kind
        tasklet.channel = self

    def take_out(self, tasklet):
        self.queue.remove(tasklet)
        if not self.queue:
            self.kind = 0
        tasklet.channel = None
        tasklet.iterating = False


class Model:
    def __init__(self, main_body, bodies, channels):
        self.channels = [Channel(*settings) for settings in channels]
        self.main = Tasklet(MAIN, main_body)
        self.tasklets = [Tasklet(number, body) for number, body in enumerate(bodies)]
        self.ring = [self.main]

    def run_to_the_end(self):
        """Until main's generator ends."""
        while self.main.alive:
            self.turn(self.ring[0])

    # ------------------------------------------------------------ one turn

    def turn(self, me):
        """Resume the current tasklet with the outcome of its last operation; do the next one."""
        kind, content = me.outcome
        me.outcome = ("value", None)
        if kind == "throw" and not me.started:
            self.end(me, None if isinstance(content, Exit) else content)
            return
        me.started = True
        try:
            operation = me.body.throw(content) if kind == "throw" else me.body.send(content)
        except StopIteration:
            self.end(me, None)
        except Exit:
            self.end(me, None)
        except Exception as error:
            self.end(me, error)
        else:
            name, *arguments = operation
            try:
                result = getattr(self, "do_" + name)(me, *arguments)
            except (Exception, Exit) as error:
                me.outcome = ("throw", error)
            else:
                if result is not None:
                    me.outcome = ("value", result)

    def end(self, me, error):
        me.alive = False
        self.ring.remove(me)
        main = self.main
        if me is main:
            return
        if error is None and not self.ring:
            if main.channel is None:
                self.wake_main()
                return
            error = MAIN_RECEIVES if main.channel.kind == RECEIVE else MAIN_SENDS
        if error is not None:
            if main.channel is not None:
                main.channel.take_out(main)
            main.outcome = ("throw", error)
            self.wake_main()
            self.make_current(main)

    def wake_main(self):
        if self.main not in self.ring:
            self.ring.append(self.main)

    def make_current(self, tasklet):
        place = self.ring.index(tasklet)
        self.ring = self.ring[place:] + self.ring[:place]

    def link(self, tasklet):
        if tasklet not in self.ring:
            self.ring.append(tasklet)

    def leave_ring(self, me):
        """Contract 8.4, for a tasklet that blocks or removes itself."""
        if len(self.ring) > 1:
            self.ring.pop(0)
            return
        if me is self.main or self.main.channel is not None:
            raise DEADLOCK
        self.ring.pop(0)
        self.wake_main()

    # ------------------------------------------------------------ operations

    def target(self, number):
        return self.main if number == MAIN else self.tasklets[number]

    def do_schedule(self, me, value):
        me.outcome = ("value", value)
        self.ring.append(self.ring.pop(0))

    def do_schedule_remove(self, me, value):
        if me is not self.main or len(self.ring) > 1:
            self.leave_ring(me)
        me.outcome = ("value", value)

    def do_run_all(self, me):
        if len(self.ring) > 1:
            self.ring.pop(0)

    def check_runnable(self, tasklet):
        if tasklet.channel is not None:
            raise RUN_BLOCKED
        if not tasklet.alive:
            raise RUN_DEAD

    def do_insert(self, me, number):
        tasklet = self.target(number)
        self.check_runnable(tasklet)
        self.link(tasklet)

    def do_remove(self, me, number):
        tasklet = self.target(number)
        if tasklet.channel is not None:
            raise REMOVE_BLOCKED
        if tasklet is me:
            raise REMOVE_CURRENT
        if tasklet in self.ring:
            self.ring.remove(tasklet)

    def do_run(self, me, number):
        tasklet = self.target(number)
        self.check_runnable(tasklet)
        self.link(tasklet)
        self.make_current(tasklet)

    def do_switch(self, me, number):
        tasklet = self.target(number)
        self.check_runnable(tasklet)
        if tasklet is not me:
            self.link(tasklet)
            self.ring.remove(me)
            self.make_current(tasklet)

    def do_kill(self, me, number, pending):
        self.throw(me, number, Exit(), pending)

    def do_throw(self, me, number, error, pending):
        self.throw(me, number, error, pending)

    def throw(self, me, number, error, pending):
        tasklet = self.target(number)
        if not tasklet.alive:
            if isinstance(error, Exit):
                return
            raise THROW_DEAD
        if tasklet is me:
            raise error
        if tasklet.channel is not None:
            tasklet.channel.take_out(tasklet)
        tasklet.outcome = ("throw", error)
        self.link(tasklet)
        if not pending:
            self.make_current(tasklet)

    def do_send(self, me, number, value):
        return self.transfer(me, self.channels[number], SEND, value)

    def do_receive(self, me, number):
        return self.transfer(me, self.channels[number], RECEIVE, None)

    def do_next(self, me, number):
        channel = self.channels[number]
        if channel.closing and channel.balance <= 0:
            raise StopIteration
        return self.transfer(me, channel, RECEIVE, None, iterating=True)

    def transfer(self, me, channel, kind, value, iterating=False):
        if channel.kind == -kind:
            partner = channel.queue[0]
            channel.take_out(partner)
            if kind == SEND:
                partner.outcome = ("value", value)
            else:
                me.outcome, partner.outcome = ("value", partner.sending), ("value", None)
            if channel.schedule_all:
                self.ring.append(partner)
                self.ring.append(self.ring.pop(0))
            elif channel.preference == -kind:
                self.ring.insert(1, partner)
                self.ring.append(self.ring.pop(0))
            else:
                self.ring.append(partner)
            return
        if me.block_trap:
            raise TRAPPED
        if channel.closing:
            raise CLOSED
        self.leave_ring(me)
        me.sending = value
        me.iterating = iterating
        channel.append(me, kind)

    def do_close(self, me, number):
        channel = self.channels[number]
        channel.closing = True
        for tasklet in list(channel.queue):
            if tasklet.iterating:
                channel.take_out(tasklet)
                tasklet.outcome = ("throw", StopIteration())
                self.link(tasklet)

    def do_open(self, me, number):
        self.channels[number].closing = False

    def do_block_trap(self, me, flag):
        me.block_trap = flag

    # ------------------------------------------------------------ what can be seen

    def do_look(self, me):
        """Everything that shows, as the test's own reading of the real thing gives it."""
        return (
            [tasklet.name for tasklet in self.ring],
            [
                (channel.balance, [tasklet.name for tasklet in channel.queue], channel.closing)
                for channel in self.channels
            ],
            [
                (
                    tasklet.alive,
                    tasklet in self.ring or tasklet.channel is not None,
                    tasklet.channel is not None,
                )
                for tasklet in [*self.tasklets, self.main]
            ],
        )
