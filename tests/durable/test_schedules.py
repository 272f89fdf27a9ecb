"""Schedules."""

import datetime
import threading

import orders
import pytest
from durable_waits import wait_for
from serving_thread import working
from stackless import durable
from stackless.durable import schedules

pytest.importorskip("croniter")


def at(*parts, zone="UTC"):
    return datetime.datetime(*parts, tzinfo=schedules.zone(zone)).timestamp()


def test_times_of_a_cron_expression():
    after = at(2026, 3, 28, 12)
    assert schedules.next_time("0 3 * * *", "UTC", after) == at(2026, 3, 29, 3)
    assert schedules.next_time("0 3 * * *", "Europe/Berlin", after) == at(2026, 3, 29, 1)
    night = at(2026, 10, 25, 0, 45)  # clocks go back at 1:00 UTC
    first = schedules.next_time("30 2 * * *", "Europe/Berlin", at(2026, 10, 24, 12))
    assert first == at(2026, 10, 25, 0, 30)
    assert schedules.next_time("30 2 * * *", "Europe/Berlin", night) == at(2026, 10, 25, 1, 30)
    assert schedules.id_at("x", first, "Europe/Berlin") == "x@2026-10-25T02:30:00+02:00"
    assert schedules.id_at("x", first, "UTC") == "x@2026-10-25T00:30:00+00:00"


def test_a_schedule_starts_workflows(app):
    app.schedule("every", "* * * * * */1", orders.plain, 1, 2, pause=0.0, items=())
    with working(app):
        wait_for(lambda: len(app.workflows(status="done")) >= 2)
    app.unschedule("every")
    assert all(each.id.startswith("every@20") for each in app.workflows())
    assert app.handle(app.workflows()[-1].id).result() == (4, [])
    assert app.schedules() == []
    with pytest.raises(LookupError, match="no schedule 'every'"):
        app.unschedule("every")


def test_each_time_is_started_once_by_several_workers(app, url):
    """It is done by one of them."""
    app.schedule("every", "* * * * * */1", orders.plain, 1, 2, items=())
    others = [durable.App("tests", url, key=b"a key of the tests") for _ in range(3)]
    threads = [threading.Thread(target=each.serve) for each in others]
    for each in threads:
        each.start()
    wait_for(lambda: len(app.workflows(status="done")) >= 2)
    for each in others:
        each.stop()
    for each in threads:
        each.join()
    for each in others:
        each.close()
    found = app.workflows(limit=1000)
    assert {each.status for each in found} <= {"done", "ready"}
    assert len(orders.done) == sum(each.steps > 0 for each in found)


def test_times_that_were_missed_are_made_up_for_once(app):
    app.schedule("daily", "0 3 * * *", orders.empty, 7)
    (schedule,) = app.schedules()
    missed = schedule.due - 5 * 86400
    app._store._write(lambda to: to.run("UPDATE durable_schedules SET due = ?", missed)).result()
    app.schedule("daily", "0 3 * * *", orders.empty, 8)  # as a program does when it starts
    assert app.schedules()[0].due == missed
    with working(app):
        handle = durable.Handle(app, schedules.id_at("daily", missed, "UTC"))
        wait_for(lambda: app.workflows(status="done"))
        assert handle.result(60) == 8
    assert len(app.workflows()) == 1
    assert app.schedules()[0].due in (schedule.due, schedule.due + 86400)


def test_other_times_replace_the_next_one(app):
    app.schedule("x", "0 3 * * *", orders.empty)
    app.schedule("x", "0 4 * * *", orders.empty, timezone="Europe/Berlin")
    (found,) = app.schedules()
    assert (found.name, found.cron, found.timezone) == ("x", "0 4 * * *", "Europe/Berlin")
    assert found.function == "orders:empty"
    assert datetime.datetime.fromtimestamp(found.due, schedules.zone("Europe/Berlin")).hour == 4


def test_wrong_schedules(app):
    with pytest.raises(ValueError):
        app.schedule("x", "61 3 * * *", orders.empty)
    with pytest.raises(ValueError, match="time zone"):
        app.schedule("x", "0 3 * * *", orders.empty, timezone="Moon/Base")
    with pytest.raises(ValueError, match="no workflow"):
        app.schedule("x", "0 3 * * *", orders.charge)
    with pytest.raises(TypeError):
        app.schedule(3, "0 3 * * *", orders.empty)
    assert app.schedules() == []
