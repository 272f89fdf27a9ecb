"""Tasklets that pause themselves with `schedule_remove`."""

import stackless


def paused(function, *arguments):
    tasklet = stackless.tasklet(function)(*arguments)
    stackless.run()
    assert tasklet.paused
    return tasklet


def finish(tasklet):
    tasklet.insert()
    stackless.run()
