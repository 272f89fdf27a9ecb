"""A simple model of one thread's run queue and channels, written from the documentation alone.

The run queue is a list that starts with the current tasklet. A tasklet is a generator that yields
the operations to do: `(name, argument, ...)`. The same generators are run with real tasklets, so
that both can be compared event by event. The main tasklet is MAIN.

The events that callbacks would get are passed to `note`, a function of one event.
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
SWITCH_TRAP = RuntimeError("switch_trap")
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
        self.sending = None  # the value that it sends while it is blocked in a channel
        self.channel = None  # the channel it is blocked on
        self.iterating = False  # True if it is blocked there in iteration
        self.block_trap = False
        self.outcome = ("value", None)  # the result of its pending call


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


class Timer:
    """A limit that ends a run() early: a number of turns, or the ticks of one `spin`."""

    def __init__(self, owner, turns=None, soft=False):
        self.owner = owner
        self.turns = turns
        self.soft = soft
        self.expired = False


class Model:
    def __init__(self, main_body, bodies, channels, note, *, callbacks, handler):
        self.note = note if callbacks else lambda event: None
        self.handler = note if handler else None
        self.channels = [Channel(*settings) for settings in channels]
        self.main = Tasklet(MAIN, main_body)
        self.tasklets = [Tasklet(number, body) for number, body in enumerate(bodies)]
        self.ring = [self.main]
        self.watchdogs = []  # those inside run(), outermost first
        self.timer = None  # of the outermost run() with a limit
        self.trap = False
        self.hand_over = False  # True if the switch under way is a transfer's own
        self.yields = False  # True if the operation was schedule()

    def run_to_the_end(self):
        """Run until main's generator ends."""
        while self.main.alive:
            self.turn(self.ring[0])

    # ------------------------------------------------------------ one turn

    def turn(self, me):
        """Resume the current tasklet with the outcome of its last operation; do the next one."""
        if me in self.watchdogs:
            self.return_from_run(me)
        kind, content = me.outcome
        me.outcome = ("value", None)
        if kind == "throw" and not me.started:
            self.end(me, content)
            return
        me.started = True
        try:
            operation = me.body.throw(content) if kind == "throw" else me.body.send(content)
        except StopIteration:
            self.end(me, None)
        except (Exit, Exception) as error:
            self.end(me, error)
        else:
            name, *arguments = operation
            self.hand_over = self.yields = False
            try:
                result = getattr(self, "do_" + name)(me, *arguments)
            except (Exception, Exit) as error:
                me.outcome = ("throw", error)
            else:
                if result is not None:
                    me.outcome = ("value", result)
            self.switch_from(me)

    def switch_from(self, me):
        """The ring's head runs next, unless a limit is reached by this switch."""
        head, timer = self.ring[0], self.timer
        if head is me and not self.ends_lone_turn(timer):
            return
        if timer is not None and timer.owner is not head:
            if timer.turns is not None:
                timer.turns -= 1
            if timer.turns == 0 or (timer.soft and timer.expired and not self.hand_over):
                self.resume_owner()
        if self.ring[0] is not me:
            self.note(("switch", me.name, self.ring[0].name))

    def ends_lone_turn(self, timer):
        """A `schedule()` alone in the ring: it ends a turn if the limit is soft or counts turns."""
        waits = timer is not None and (timer.soft or timer.turns is not None)
        return self.yields and waits and not self.trap

    def resume_owner(self):
        owner = self.timer.owner
        if owner not in self.ring:
            self.ring.append(owner)
        self.make_current(owner)

    def return_from_run(self, me):
        """The runs above it on the stack are made runnable; a limit of theirs is over."""
        place = self.watchdogs.index(me)
        popped = self.watchdogs[place:]
        del self.watchdogs[place:]
        if self.timer is not None and self.timer.owner in popped:
            self.timer = None
        for inner in reversed(popped[1:]):
            self.link(inner)

    def watcher(self):
        return self.watchdogs[-1] if self.watchdogs else self.main

    def end(self, me, error):
        if isinstance(error, Exit):
            error = None
        if error is not None and self.handler is not None:
            self.handler(("handler", me.name, str(error)))
            error = None
        me.alive = False
        self.ring.remove(me)
        if me is self.main:
            return
        watcher = self.watcher()
        if error is None and not self.ring:
            if watcher.channel is None:
                self.ring.append(watcher)
            else:
                error = MAIN_RECEIVES if watcher.channel.kind == RECEIVE else MAIN_SENDS
        if error is not None:
            if watcher.channel is not None:
                watcher.channel.take_out(watcher)
            watcher.outcome = ("throw", error)
            self.link(watcher)
            self.make_current(watcher)
        self.hand_over = False
        self.switch_from(me)

    def make_current(self, tasklet):
        place = self.ring.index(tasklet)
        self.ring = self.ring[place:] + self.ring[:place]

    def link(self, tasklet):
        if tasklet not in self.ring:
            self.ring.append(tasklet)

    def may_switch(self):
        if self.trap:
            raise SWITCH_TRAP

    def leave_ring(self, me):
        """The rules for a deadlock, for a tasklet that blocks or removes itself."""
        watcher = self.watcher()
        if len(self.ring) == 1 and (watcher is me or watcher.channel is not None):
            raise DEADLOCK
        self.may_switch()
        self.ring.pop(0)
        if not self.ring:
            self.ring.append(watcher)

    # ------------------------------------------------------------ operations

    def target(self, number):
        return self.main if number == MAIN else self.tasklets[number]

    def do_schedule(self, me, value):
        if len(self.ring) > 1:
            self.may_switch()
        me.outcome = ("value", value)
        self.yields = True
        self.ring.append(self.ring.pop(0))

    def do_schedule_remove(self, me, value):
        if self.ring != [self.main] or self.watchdogs:
            self.leave_ring(me)
        me.outcome = ("value", value)

    def do_run_all(self, me):
        self.enter_run(me, None)

    def do_run_turns(self, me, turns):
        if turns:
            self.enter_run(me, Timer(me, turns=turns + 1))  # the first switch begins a turn

    def do_run_ticks(self, me, soft):
        self.enter_run(me, Timer(me, soft=soft))

    def enter_run(self, me, timer):
        if len(self.ring) == 1:
            return
        self.may_switch()
        self.ring.pop(0)
        self.watchdogs.append(me)
        self.timer = self.timer or timer

    def do_spin(self, me):
        """A spin exceeds the ticks of a limit: a hard limit takes the tasklet out of the ring."""
        timer = self.timer
        if timer is None or timer.turns is not None:
            return
        timer.expired = True
        if not timer.soft and not self.trap:
            if (
                timer.owner.outcome[0] != "throw"
            ):  # otherwise it wakes with the exception, and no tasklet is taken out
                self.ring.remove(me)
                timer.owner.outcome = ("value", me.name)
            self.resume_owner()

    def do_trap(self, me, flag):
        self.trap = flag

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
        if tasklet is not me:
            self.may_switch()
        self.link(tasklet)
        self.make_current(tasklet)

    def do_switch(self, me, number):
        tasklet = self.target(number)
        self.check_runnable(tasklet)
        if tasklet is not me:
            self.may_switch()
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
        if not pending and not tasklet.started and isinstance(error, Exit):
            self.end_unstarted(me, tasklet)
            return
        if not pending:
            self.may_switch()
        if tasklet.channel is not None:
            tasklet.channel.take_out(tasklet)
        tasklet.outcome = ("throw", error)
        self.link(tasklet)
        if not pending:
            self.make_current(tasklet)

    def end_unstarted(self, me, tasklet):
        """A tasklet killed before its start ends at once, and its right neighbour runs."""
        ring = self.ring if tasklet in self.ring else [*self.ring, tasklet]
        following = ring[(ring.index(tasklet) + 1) % len(ring)]
        if following is not me:
            self.may_switch()
        self.ring = [other for other in ring if other is not tasklet]
        tasklet.alive = False
        self.make_current(following)

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
        number = self.channels.index(channel)
        able = channel.kind == -kind
        self.note(("channel", number, me.name, int(kind == SEND), int(not able), value))
        if not able:
            if me.block_trap:
                raise TRAPPED
            if channel.closing:
                raise CLOSED
            self.leave_ring(me)
            me.sending = value
            me.iterating = iterating
            channel.append(me, kind)
            return
        partner = channel.queue[0]
        to_partner = channel.preference == -kind and not channel.schedule_all
        if to_partner or channel.schedule_all:
            self.may_switch()
        channel.take_out(partner)
        if kind == SEND:
            partner.outcome = ("value", value)
        else:
            me.outcome, partner.outcome = ("value", partner.sending), ("value", None)
        if to_partner:
            self.hand_over = True
            self.ring.insert(1, partner)
        else:
            self.ring.append(partner)
        if to_partner or channel.schedule_all:
            self.ring.append(self.ring.pop(0))

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

    def do_prefer(self, me, number, preference, schedule_all):
        self.channels[number].preference = preference
        self.channels[number].schedule_all = schedule_all

    def do_block_trap(self, me, flag):
        me.block_trap = flag

    # ------------------------------------------------------------ the visible state

    def do_look(self, me):
        """The visible state, in the form in which the test reads it from the real tasklets."""
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
            [tasklet.name for tasklet in self.watchdogs],
            self.timer and self.timer.owner.name,
        )
