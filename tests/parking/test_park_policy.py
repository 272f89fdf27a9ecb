"""Which tasklets are parked when many stacks are in use."""

from child_process import TIME_LIMIT, assert_child


def test_too_many_stacks():
    """Above `park_above` stacks the longest waiting ones are parked; all continue afterwards."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        stackless.set_stack_limits(park_above=200)
        ch, results = stackless.channel(), []
        def inner(n): return n, ch.receive()
        def body(n): results.append(inner(n))
        all = []
        for n in range(5_000):
            all.append(stackless.tasklet(body)(n))
            stackless.run()
        stacks = [n for n, t in enumerate(all) if not _stackless._is_parked(t)]
        print(len(stacks) <= 300, min(stacks) > 4_000)
        while ch.balance: ch.send("value")
        stackless.run()
        print(results == [(n, "value") for n in range(5_000)], len(_stackless.getuncollectables()))
        """,
        prints="True True True 0",
    )


def test_unparkable_ones_may_exceed_the_number():
    """Tasklets that cannot be parked keep their stacks, also above that number."""
    assert_child(
        """
        import stackless
        stackless.set_stack_limits(park_above=10)
        ch = stackless.channel()
        def body(): list(map(lambda _: ch.receive(), [0]))
        for _ in range(500): stackless.tasklet(body)()
        stackless.run()
        print(ch.balance)
        while ch.balance: ch.send(None)
        stackless.run()
        print(len(stackless.getuncollectables()))
        """,
        prints="-500 0",
    )


def test_many_unparkable_ones_are_forgotten():
    """That there were many does not prevent parking later."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        ch = stackless.channel()
        def hard(): list(map(lambda _: ch.receive(), [0]))
        def soft(): ch.receive()
        def fill(function, count):
            all = [stackless.tasklet(function)() for _ in range(count)]
            stackless.run()
            return any(_stackless._is_parked(t) for t in all)
        def empty():
            while ch.balance: ch.send(None)
            stackless.run()
        stackless.set_stack_limits(park_above=10)
        print(fill(hard, 5000))
        empty()
        stackless.set_stack_limits(park_above=100)
        print(fill(soft, 1000))
        empty()
        """,
        prints="False True",
    )


def test_room_is_made_when_there_are_no_more_stacks():
    """Tasklets are parked before MemoryError is raised."""
    assert_child(
        """
        import stackless
        stackless.set_stack_limits(count=10)
        ch = stackless.channel()
        def body(): ch.receive()
        for _ in range(1000): stackless.tasklet(body)()
        stackless.run()
        print(ch.balance)
        while ch.balance: ch.send(None)
        stackless.run()
        """,
        prints="-1000",
    )


def test_a_hundred_thousand():
    """Blocked, two frames deep, all woken; no more than a few thousand have a stack."""
    assert_child(
        """
        import stackless
        from stackless import _stackless
        ch, done = stackless.channel(), [0]
        def inner(): return ch.receive()
        def outer():
            inner()
            done[0] += 1
        all = [stackless.tasklet(outer)() for _ in range(100_000)]
        stackless.run()
        print(sum(not _stackless._is_parked(t) for t in all) <= 5_000)
        while ch.balance: ch.send(None)
        stackless.run()
        print(done)
        """,
        prints="True [100000]",
        timeout=max(120, TIME_LIMIT),
    )
