"""How values are shown: shortened, and changed by the program's redactor."""

import sys

import pytest
import stackless
from replay import load, story
from stackless._stackless import _describe as describe


@pytest.fixture(autouse=True)
def no_redactor():
    yield
    stackless.set_redactor(None)


class Shy:
    def __repr__(self):
        raise ZeroDivisionError


class Restless:
    def __repr__(self):
        stackless.schedule()
        return "never"


class Odd:
    def __repr__(self):
        return "x" * 1000


class Inside:
    def __repr__(self):
        return describe(self)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (True, "True"),
        (-7, "-7"),
        (2**63, "9223372036854775808"),
        (1 << 100_000, "<int of 100001 bits>"),
        (1.5, "1.5"),
        ("it's", '"it\'s"'),
        ("a\n", r"'a\n'"),
        ("\ud800", r"'\ud800'"),
        ("é", "'é'"),
        (b"\0", r"b'\x00'"),
        ((), "()"),
        ((1,), "(1,)"),
        ((1, "a", None), "(1, 'a', None)"),
        (list(range(1000)), "[0, 1, 2, 3, 4, 5, … 994 more]"),
        ([[[[1]]]], "[[[[… 1 more]]]]"),
        ({"a": [1], 2: {}}, "{'a': [1], 2: {}}"),
        (Shy(), "<Shy, whose repr raises ZeroDivisionError>"),
        ([Shy(), 1], "[<Shy, whose repr raises ZeroDivisionError>, 1]"),
        (Inside(), "<Inside>"),
        (len, "<built-in function len>"),
        (stackless.bomb(ValueError, ValueError("x")), "ValueError('x')"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_texts(value, text):
    assert describe(value) == text


@pytest.mark.parametrize(
    "value", ["y" * 1_000_000, "é\n" * 500, Odd(), [Odd()] * 9, {Odd(): "z" * 99}]
)
def test_long_ones_are_cut(value):
    text = describe(value)
    assert len(text) == 80
    assert text.endswith("…")


def test_a_repr_cannot_switch():
    t = stackless.tasklet(int)()
    assert describe(Restless()) == "<Restless, whose repr raises RuntimeError>"
    assert t.alive
    stackless.run()


def test_a_list_that_shrinks_while_it_is_described():
    class Eater:
        def __repr__(self):
            victims.clear()
            return "eater"

    victims = [Eater(), 1, 2]
    assert describe(victims) == "[eater]"


def test_the_redactor_decides():
    def redact(value):
        if isinstance(value, str) and "secret" in value:
            return "<redacted>"
        if value == 13:
            raise ArithmeticError
        return 0 if value == 14 else None

    assert stackless.get_redactor() is None
    assert stackless.set_redactor(redact) is None
    assert stackless.get_redactor() is redact
    assert describe("my secret") == "<redacted>"
    assert describe(["a", {"k": "secret"}]) == "['a', {'k': <redacted>}]"
    assert describe(12) == "12"
    assert describe(14) == "<int>"
    told = []
    sys.unraisablehook, hook = told.append, sys.unraisablehook
    try:
        assert describe(13) == "<int>"
    finally:
        sys.unraisablehook = hook
    assert [event.exc_type for event in told] == [ArithmeticError]
    assert stackless.set_redactor(None) is redact
    assert describe("my secret") == "'my secret'"


def test_the_redactor_must_be_callable():
    with pytest.raises(TypeError, match="callable"):
        stackless.set_redactor(3)
    with pytest.raises(TypeError, match="exactly one argument"):
        stackless.set_redactor()


def everything_sent(path, **options):
    class Result(Exception):
        pass

    def worker(argument, *, password):
        ch.send("secret one")
        raise Result("secret two")

    ch = stackless.channel()
    with stackless.record(path, **options):
        stackless.tasklet(worker)("secret three", password="secret four")
        ch.receive()
        with pytest.raises(Result):
            stackless.run()
    return load(path)["texts"]


def test_a_recording_keeps_what_is_redacted_to_itself(tmp_path):
    assert any("secret one" in text for text in everything_sent(tmp_path / "r.json"))
    stackless.set_redactor(lambda value: "***" if "secret" in repr(value) else None)
    assert not any("secret" in text for text in everything_sent(tmp_path / "r.json"))
    stackless.set_redactor(None)
    texts = everything_sent(tmp_path / "r.json", values=False)
    assert not any("secret" in text for text in texts)
    assert "Result" in texts


def test_a_repr_that_uses_channels(tmp_path):
    class Busy:
        def __repr__(self):
            spare.send(1)  # a tasklet is waiting, and does not continue at once
            return "busy"

    ch, spare = stackless.channel(), stackless.channel()
    spare.preference = 1
    got = []

    def receiver():
        got.append(spare.receive())

    with stackless.record(tmp_path / "r.json"):
        stackless.tasklet(receiver)()
        stackless.tasklet(ch.receive)()
        stackless.run()
        ch.send(Busy())
        stackless.run()
    assert got == [1]
    assert [e.text for e in story(tmp_path / "r.json", "Transfer", "HandOver")] == ["1", "busy"]
