"""`inspect`: what a blob holds, without unpickling it."""

import io
import os
import pickle
import random
import sys
import types
import warnings

import mutations
import pytest
import stackless
from child_process import assert_child, in_child_process
from paused_tasklets import paused
from stackless import pickling
from stackless.pickling import code, code_text

ROUNDS = 200_000 if os.environ.get("STACKLESS_NIGHTLY") else 10_000
KEY = b"a key"


class Loud:
    """Says when it is unpickled."""

    loaded = 0

    def __reduce__(self):
        return Loud.load, (1,)

    @staticmethod
    def load(_):
        Loud.loaded += 1
        return Loud()


def order(number, amount, *, note="none"):
    customer = Loud()
    lines = [{"item": b"x", "counts": (1, None, True)}, {2}, frozenset((3,))]
    inner = lambda: amount  # noqa: E731, F841
    if number:
        return wait(number, lines), customer
    return None


def wait(number, lines):
    unset: int
    for each in lines:
        stackless.schedule_remove()
        number += len(each)
    unset = 1
    return unset


def line_of(tasklet):
    lines, frame = [], tasklet.frame
    while frame is not None:
        lines.append((frame.f_code.co_qualname, frame.f_code.co_filename, frame.f_lineno))
        frame = frame.f_back
    return lines[::-1]


# ------------------------------------------------------------------ what is found


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_frames_with_places_and_variables(protocol):
    tasklet = paused(order, 42, 9.99)
    data = stackless.dumps([tasklet, tasklet], protocol=protocol)
    before = Loud.loaded
    found = pickling.inspect(data)
    assert Loud.loaded == before
    (saved,) = found.tasklets
    assert saved.begun and saved.type == "stackless.tasklet"
    assert [(f.function, f.file, f.line) for f in saved.frames] == line_of(tasklet)
    outer, inner = saved.frames
    assert str(inner) == f"{__file__}:{inner.line}, in wait"
    lines = "[{'item': b'x', 'counts': (1, None, True)}, {2}, frozenset({3})]"
    assert outer.variables == {
        "number": "42",
        "amount": "9.99",
        "note": "'none'",
        "customer": outer.variables["customer"],
        "lines": lines,
        "inner": "<function>",
    }
    assert "Loud" in outer.variables["customer"] or "load" in outer.variables["customer"]
    each = "{'item': b'x', 'counts': (1, None, True)}"
    assert inner.variables == {"number": "42", "lines": lines, "each": each}
    assert (found.format, found.signed, found.verified) == (2, False, False)
    assert found.python == f"3.{sys.version_info.minor}"


def test_modules_and_code_of_a_blob():
    import helper_module

    store = {}
    data = stackless.dumps([helper_module.count, lambda: 1], code_store=store)
    found = pickling.inspect(data)
    assert found.modules == ("helper_module", __name__)
    assert found.code == tuple(store) and found.tasklets == ()


def test_code_in_a_store():
    store = {}
    tasklet = paused(order, 1, 2.5)
    data = stackless.dumps(tasklet, code_store=store)
    (saved,) = pickling.inspect(data, code_store=store).tasklets
    assert [(f.function, f.file, f.line) for f in saved.frames] == line_of(tasklet)
    (saved,) = pickling.inspect(data).tasklets
    assert [f.variables for f in saved.frames] == [{}, {}]
    assert [f.line for f in saved.frames] == [0, 0]
    wrong = dict.fromkeys(store, b"no code")
    with pytest.raises(pickling.DamagedError, match="code store"):
        pickling.inspect(data, code_store=wrong)


def test_the_states_of_tasklets():
    def local(a, b):
        pass

    ended = stackless.tasklet(lambda: None)()
    stackless.run()
    fresh = stackless.tasklet(local)(1, 2)
    bound = stackless.tasklet(max)
    bound.bind(max, (1, 2))
    found = pickling.inspect(stackless.dumps([fresh, ended, bound])).tasklets
    assert [each.begun for each in found] == [False, True, False]
    (frame,) = found[0].frames
    first = local.__code__.co_firstlineno
    assert (frame.function, frame.file, frame.line) == (local.__qualname__, __file__, first)
    assert found[1].frames == ()
    assert found[2].frames[0].function == "max"
    for each in (fresh, bound):
        each.kill()


def test_code_with_a_namespace():
    """Its variables are in a dict: those of a module or class."""
    names = {"__name__": "nowhere", "__builtins__": __builtins__, "stackless": stackless}
    module = compile("inside = 5\nstackless.schedule_remove()", "file", "exec")
    (saved,) = pickling.inspect(stackless.dumps(paused(types.FunctionType(module, names)))).tasklets
    (frame,) = saved.frames
    assert str(frame) == "file:2, in <module>"
    assert frame.variables["inside"] == "5"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="3.11 runs generators through C")
def test_a_generator_that_runs_and_a_cell():
    def count(limit):
        for number in range(limit):
            stackless.schedule_remove()
            yield number

    def work():
        shared = "in a cell"
        for each in count(3):
            shared += str(each)
        return lambda: shared

    tasklet = paused(work)
    (saved,) = pickling.inspect(stackless.dumps(tasklet)).tasklets
    assert saved.frames[0].variables == {"count": "<function>", "shared": "'in a cell'"}
    assert saved.frames[1].variables == {"limit": "3", "number": "0"}
    assert [(f.function, f.file, f.line) for f in saved.frames] == line_of(tasklet)


def test_long_values_are_shortened():
    def work(text, number, deep, many):
        stackless.schedule_remove()

    deep = loop = []
    for _ in range(50):
        deep = [deep]
    loop.append(loop)
    tasklet = paused(work, "x" * 10_000, 1 << 9000, deep, list(range(1000)))
    (saved,) = pickling.inspect(stackless.dumps(tasklet)).tasklets
    shown = saved.frames[0].variables
    assert all(len(text) <= 202 for text in shown.values())
    assert shown["text"].startswith("'xxx") and shown["text"].endswith("…")
    assert shown["number"] == "<int of 9001 bits>"
    assert shown["deep"] == "[[[[[…]]]]]"
    assert shown["many"].startswith("[0, 1, 2,") and shown["many"].endswith("…")


# ------------------------------------------------------------------ refusals


def test_signatures():
    data = stackless.dumps(paused(order, 1, 2), key=KEY)
    assert not pickling.inspect(data).verified
    found = pickling.inspect(data, key=[b"another", KEY])
    assert found.verified and found.signed and len(found.tasklets) == 1
    with pytest.raises(pickling.SignatureError):
        pickling.inspect(data, key=b"another")
    with pytest.raises(pickling.SignatureError):
        pickling.inspect(stackless.dumps(1), key=KEY)
    with pytest.raises(pickling.DamagedError):
        pickling.inspect(data[:-1])


def test_what_is_no_blob():
    with pytest.raises(pickling.NotABlobError):
        pickling.inspect(b"something else")
    with pytest.raises(pickling.DamagedError):
        pickling.inspect(stackless.dumps(1) + b"x")
    with pytest.raises(pickling.TooLargeError):
        pickling.inspect(stackless.dumps(b"x" * 1000), max_size=100)
    with pytest.raises(pickling.TooLargeError, match="opcodes"):
        pickling.inspect(stackless.dumps(list(range(1000))), limit=100)
    for wrong in ("text", None, 3):
        with pytest.raises(TypeError):
            pickling.inspect(wrong)
    with pytest.raises(TypeError):
        pickling.inspect(stackless.dumps(1), limit="many")


def blob_of(data):
    """An unsigned blob with any pickle in it."""
    return mutations.sealed(pickling.blob._python_and_modules(()) + data)


def test_a_pickle_that_would_run_a_command(tmp_path):
    """It is not run, in any way of pickles to call something."""
    target = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {target}",)

    for protocol in range(6):
        assert pickling.inspect(blob_of(pickle.dumps(Evil(), protocol))).tasklets == ()
    for text in (
        b"(S'touch %s'\nios\nsystem\n.",
        b"(cos\nsystem\nS'touch %s'\no.",
        b"cos\nsystem\nS'touch %s'\n\x85\x81.",
        b"cos\nsystem\nS'touch %s'\n\x85}\x92.",
    ):
        pickling.inspect(blob_of(text % str(target).encode()))
    assert not target.exists()


def test_nothing_is_imported():
    assert_child(
        """
        import pickle, sys, stackless
        from stackless import pickling
        from stackless.pickling import blob
        rest = blob._python_and_modules(()) + b"cantigravity\\nsomething\\n."
        head = blob._HEAD.pack(blob.MAGIC, 2, 0, len(rest))
        print(pickling.inspect(head + blob._seal(head, rest) + rest).tasklets)
        print("antigravity" in sys.modules, "cloudpickle" in sys.modules)
        """,
        prints="() False False",
    )


@pytest.mark.parametrize(
    "data",
    [
        b".",
        b"0.",
        b"(((((((.",
        b"h\x05.",
        b"R.",
        b"\x93.",
        b"K\x01K\x02\x93.",
        b"]K\x01s.",
        b"}K\x01a.",
        b"K\x01b.",
        b"(1.",
        b"2.",
        b"\x88\x88\x86R.",
        b"I999999999999999999999999999\n.",
        b"L" + b"9" * 5000 + b"L\n.",
        b"X\xff\xff\xff\x7f.",
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x96\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"no pickle",
        b"",
    ],
)
def test_odd_pickles(data):
    try:
        assert pickling.inspect(blob_of(data)).tasklets == ()
    except pickling.DamagedError:
        pass


def test_values_that_are_shown_again_and_again():
    """The text of all of them together is limited, and so is the time that it takes."""

    def work(value):
        stackless.schedule_remove()

    tasklet = paused(work, "x" * 500)
    _, _, (flags, tempval, frames, after) = pickling.pickler.pack(tasklet)

    class Many:
        def __reduce__(self):
            return stackless.tasklet, (), (flags, None, frames * 100_000, after)

    file = io.BytesIO()
    pickling.pickler.Pickler(file).dump(Many())
    (saved,) = pickling.inspect(blob_of(file.getvalue())).tasklets
    assert len(saved.frames) == 100_000
    assert sum(len(f.variables.get("value", "")) for f in saved.frames) < 1 << 21


@pytest.mark.timeout(300)
@in_child_process
def test_damaged_blobs_do_not_crash():
    """Under a right checksum: a result or a BlobError, and nothing is run."""
    seed = int(os.environ.get("STACKLESS_SEED", 0)) or random.SystemRandom().randrange(1 << 32)
    print(f"STACKLESS_SEED={seed}")
    chance = random.Random(seed)
    warnings.simplefilter("ignore")
    whole = [each for each, options in mutations.blobs() if not options]
    rests = [mutations.contents(each) for each in whole]
    read = 0
    for _ in range(ROUNDS):
        rest = mutations.damage(chance, chance.choice(rests), chance.choice(rests))
        try:
            pickling.inspect(mutations.sealed(rest))
            read += 1
        except pickling.BlobError:
            pass
    assert read > 0


# ------------------------------------------------------------------ code as text


def codes_of(function):
    found = [function.__code__]
    for each in found:
        found += [c for c in each.co_consts if isinstance(c, type(each))]
    return found


def test_code_text_says_what_the_code_object_says():
    """For the functions of many modules: names, variables, and the line of each instruction."""
    import argparse
    import ast
    import dataclasses
    import typing

    count = 0
    for module in (argparse, ast, dataclasses, typing, random, io, code_text, pickling.blob):
        for value in vars(module).values():
            for function in [value, *vars(value).values()] if isinstance(value, type) else [value]:
                if type(function) is type(codes_of):
                    for each in codes_of(function):
                        count += 1
                        text = code_text.read_code(code.data_of(each))
                        assert (text.file, text.name) == (each.co_filename, each.co_qualname)
                        assert text.first_line == each.co_firstlineno
                        names = each.co_varnames + each.co_cellvars + each.co_freevars
                        assert set(text.variables) == set(names)
                        for start, end, line in each.co_lines():
                            for unit in range(start // 2, end // 2):
                                assert text.line(unit) == (line or 0)
    assert count > 300


def test_constants_of_every_kind_in_code():
    constants = (1, -1, 1 << 80, 1.5, 2j, "a", "ä", "x" * 300, b"b", None, ..., (1, (2, ())))
    found = compile("0", "file", "eval").replace(co_consts=(*constants, frozenset((1, "q"))))
    assert code_text.read_code(code.data_of(found)).file == "file"


def test_damaged_code_is_a_value_error():
    chance = random.Random(5)
    data = code.data_of(order.__code__)
    for _ in range(3000):
        damaged = bytearray(data)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(7, len(data))] = chance.randrange(256)
        cut = damaged[: chance.randrange(len(damaged))] if chance.random() < 0.2 else damaged
        try:
            code_text.read_code(bytes(cut))
        except ValueError:
            pass
    deep = data[:7] + b")\x01" * 100_000
    with pytest.raises(ValueError, match="deep"):
        code_text.read_code(deep)


# ------------------------------------------------------------------ the redactor


@pytest.fixture
def redactor():
    yield stackless.set_redactor
    stackless.set_redactor(None)


def test_the_redactor_decides_what_is_shown(redactor):
    seen = []

    def redact(value):
        seen.append(value)
        if isinstance(value, dict) and "password" in value:
            return "<a login>"
        return "***" if isinstance(value, str) and "secret" in value else None

    def waits(plain, listed, login, other):
        stackless.schedule_remove()

    login = {"name": "ada", "password": 13, "groups": {1, 2}}
    data = stackless.dumps(paused(waits, "my secret", ["a", ("a secret",)], login, Loud()))
    redactor(redact)
    ((frame,),) = [each.frames for each in pickling.inspect(data).tasklets]
    assert frame.variables == {
        "plain": "***",
        "listed": "['a', (***,)]",
        "login": "<a login>",
        "other": f"<{__name__}.Loud.load>",
    }
    assert login in seen and pickling.SavedObject(f"{__name__}.Loud.load") in seen
    assert pickling.inspect(stackless.dumps(["secret", 3])).text == "[***, 3]"


def test_a_redactor_that_fails_shows_types_only(redactor, monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)
    redactor(lambda value: 3 if value == 13 else 1 / 0 if value == 14 else stackless.schedule())
    assert pickling.inspect(stackless.dumps(13)).text == "<int>"
    assert pickling.inspect(stackless.dumps(14)).text == "<int>"
    assert [each.exc_type for each in told] == [ZeroDivisionError]
    stackless.tasklet(int)()
    assert pickling.inspect(stackless.dumps("x")).text == "<str>"  # it must not switch
    stackless.run()
    assert [each.exc_type for each in told] == [ZeroDivisionError, RuntimeError]


def test_the_redactor_gets_the_beginning_of_what_is_large(redactor):
    """A blob of a list that holds itself a thousand times is shown in bounded time."""
    endless = []
    endless += [endless] * 1000
    sizes = []
    redactor(lambda value: sizes.append(len(value)) if isinstance(value, list) else None)
    assert pickling.inspect(stackless.dumps(endless)).text.startswith("[[[[[")
    assert max(sizes) <= 1000


def test_the_text_of_a_whole_blob():
    assert pickling.inspect(stackless.dumps({"a": [1, Loud()]})).text.startswith("{'a': [1, <")
    assert pickling.inspect(stackless.dumps(None)).text == "None"


def test_the_preview_of_a_plain_pickle():
    before = Loud.loaded
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        data = pickle.dumps(({"a": [1, b"x"]}, {2}, Loud()), protocol)
        assert pickling.preview(data) == f"({{'a': [1, b'x']}}, {{2}}, <{__name__}.Loud.load>)"
    assert Loud.loaded == before
    with pytest.raises(pickling.DamagedError):
        pickling.preview(data[:-1])
    with pytest.raises(pickling.TooLargeError):
        pickling.preview(data, limit=5)
