"""A Hypothesis strategy for schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stackless._testing.explore import Schedule

if TYPE_CHECKING:
    from hypothesis.strategies import SearchStrategy


def schedules(switches: int = 100, preempt: bool = False) -> SearchStrategy[Schedule]:
    """Return a Hypothesis strategy for the orders in which tasklets run.

    @given(schedules())
    def test(schedule):
        schedule.run(program)

    So Hypothesis finds the order that fails, and shrinks it to few switches that differ from the
    usual order. switches: the maximum number of choices; preempt: also interruptions at lines.
    Raises ImportError without Hypothesis.
    """
    from hypothesis import strategies

    choices = strategies.lists(strategies.integers(0, 7), max_size=switches)
    lines = strategies.sets(strategies.integers(0, 20 * switches), max_size=8 if preempt else 0)
    return strategies.builds(
        lambda choices, lines: Schedule(tuple(choices), tuple(sorted(lines))), choices, lines
    )
