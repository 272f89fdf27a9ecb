"""`dumps` and `loads`: what is pickled, what is checked, and what is refused."""

import io
import pickle
import struct
import sys
import textwrap
import types

import helper_module
import pytest
import stackless
import stackless.pickling as pickling
from child_process import assert_child, run_child

KEY = b"0123456789abcdef0123456789abcdef"
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def trip(value, **options):
    return stackless.loads(stackless.dumps(value, **options))


# ------------------------------------------------------------------ what can be pickled


def test_plain_values():
    """The results are those of pickle."""
    value = {"a": [1, 2.5, None, b"x"], (1, 2): {3}}
    for protocol in PROTOCOLS:
        assert trip(value, protocol=protocol) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_functions_at_any_depth(protocol):
    """In containers, attributes, closures, defaults."""
    inner = [lambda x: x + 1]
    value = {"f": inner, "g": types.SimpleNamespace(h=lambda y: inner[0](y) * 2)}
    back = trip(value, protocol=protocol)
    assert back["g"].h(3) == 8
    assert back["g"].h.__closure__[0].cell_contents is back["f"]


def test_stand_in_and_function_are_one():
    """The state of a frame holds the stand-in of a function that is also in a list."""
    from stackless.pickling.functions import by_value

    function = lambda: 0  # noqa: E731
    method = types.MethodType(function, 3)
    back = trip([by_value(function), function, by_value(function), by_value(method), method])
    assert back[0] is back[1] is back[2] is back[3].__func__ is back[4].__func__
    error = ValueError("x")
    error.__cause__ = KeyError("y")
    back = trip([by_value(error), error, error.__cause__])
    assert back[0] is back[1]
    assert back[0].__cause__ is back[2]


def test_cells_are_shared():
    """Shared by functions, and by cells outside functions; also cells that refer to themselves."""

    def scope():
        def again(n):
            return n and again(n - 1)

        return again

    again = scope()
    back, cell = trip((again, again.__closure__[0]))
    assert cell is back.__closure__[0]
    assert cell.cell_contents is back
    assert back(3) == 0


MAIN = """
import stackless, sys

total = 10

class Point:
    scale = 2
    def __init__(self, x): self.x = x
    def scaled(self): return self.x * self.scale + helper()

def helper():
    return total

def add(n):
    global total
    total += n
    return total

sys.stdout.write(stackless.dumps([Point(5), helper, add, Point, (lambda: total)]).hex())
"""


def test_main_goes_along():
    """Functions and classes of `__main__` are included, with one set of globals for all of them."""
    data = run_child(MAIN).stdout
    assert_child(
        """
        import sys, stackless
        total = "mine"
        point, helper, add, Point, get = stackless.loads(bytes.fromhex(sys.argv[1]))
        print(point.scaled(), type(point) is Point, add(5), helper(), get(), total)
        """,
        args=[data],
        prints="20 True 15 15 15 mine",
    )


def test_classes_of_main_stay_themselves_here():
    """In the process that pickled them, the class is the same object."""
    assert_child(
        """
        import stackless
        class Point: pass
        assert type(stackless.loads(stackless.dumps(Point()))) is Point
        """
    )


def test_importable_functions_see_live_globals():
    """Named ones and nested ones."""
    helper_module.counter = 0
    count, step = trip((helper_module.count, helper_module.make_counter()))
    assert count is helper_module.count
    step()
    assert helper_module.counter == 10


def test_module_that_was_made_by_hand_is_included():
    """It has no spec, so no other process can import it."""
    module = types.ModuleType("made_by_hand")
    exec("x = 3\ndef f(): return x", module.__dict__)
    sys.modules["made_by_hand"] = module
    try:
        data = stackless.dumps(module.f)
    finally:
        del sys.modules["made_by_hand"]
    assert stackless.loads(data)() == 3


def test_exceptions_keep_everything():
    """Outside of tasklets too, in any container."""
    try:
        try:
            raise KeyError(1)
        except KeyError as inner:
            raise ValueError(2) from inner
    except ValueError as caught:
        error = caught
    (back,) = trip([error])
    assert type(back.__cause__) is KeyError
    assert back.__cause__ is back.__context__
    assert back.__traceback__.tb_lineno == error.__traceback__.tb_lineno
    group = trip(ExceptionGroup("both", [error]))
    assert type(group.exceptions[0].__cause__) is KeyError


def test_standard_streams_go_by_name():
    """They become the standard streams of the process that unpickles."""
    assert trip([sys.stdout, sys.stderr]) == [sys.stdout, sys.stderr]


def test_open_files_are_refused(tmp_path):
    """The error names a remedy."""
    with open(tmp_path / "file", "w") as file:
        with pytest.raises(TypeError, match="stackless.pickling.register"):
            stackless.dumps(file)


def test_too_deep():
    """The error is one of pickling."""
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(pickle.PicklingError):
        stackless.dumps(deep)


# ------------------------------------------------------------------ files


def test_several_in_one_file():
    """They are read in turn, then EOFError."""
    file = io.BytesIO()
    for value in ("one", [2], None):
        stackless.dump(value, file)
    file.seek(0)
    assert [stackless.load(file) for _ in range(3)] == ["one", [2], None]
    with pytest.raises(EOFError):
        stackless.load(file)


def test_reading_in_small_pieces():
    """As from a pipe; only the bytes of the blob are read."""

    class Dribble:
        def __init__(self, data):
            self.data = data

        def read(self, size):
            part, self.data = self.data[: min(3, size)], self.data[min(3, size) :]
            return part

    source = Dribble(stackless.dumps("value") + b"rest")
    assert stackless.load(source) == "value"
    assert source.data == b"rest"


def test_file_that_ends_early():
    """It ends after every possible number of bytes."""
    data = stackless.dumps("value")
    for size in range(1, len(data)):
        with pytest.raises(pickle.UnpicklingError):
            stackless.load(io.BytesIO(data[:size]))


def test_large_length_costs_no_memory():
    """The memory for a damaged length is not allocated in advance."""
    data = bytearray(stackless.dumps("value"))
    data[6:14] = struct.pack("<Q", 2**62)
    with pytest.raises(pickling.DamagedError):
        stackless.load(io.BytesIO(data), max_size=None)
    with pytest.raises(pickling.TooLargeError):
        stackless.load(io.BytesIO(data))


# ------------------------------------------------------------------ signatures


def test_signed():
    """With one key, or with several of which one fits: this allows a change of keys."""
    data = stackless.dumps([1], key=KEY)
    assert stackless.loads(data, key=KEY) == [1]
    assert stackless.loads(data, key=bytearray(KEY)) == [1]
    assert stackless.loads(data, key=[b"new key", KEY]) == [1]
    file = io.BytesIO(data)
    assert stackless.load(file, key=KEY) == [1]


def test_wrong_key():
    """It is refused before anything is unpickled."""
    data = stackless.dumps(Loud(), key=KEY)
    for key in (b"another", [b"another", b"third"]):
        with pytest.raises(pickling.SignatureError, match="not signed with this key"):
            stackless.loads(data, key=key)
    assert Loud.loaded == 0
    stackless.loads(data, key=KEY)
    assert Loud.loaded == 1


class Loud:
    loaded = 0

    def __reduce__(self):
        return Loud.load, ()

    @staticmethod
    def load():
        Loud.loaded += 1


def test_unsigned_with_a_key():
    """Refused."""
    with pytest.raises(pickling.SignatureError, match="not signed"):
        stackless.loads(stackless.dumps(1), key=KEY)


def test_signed_without_a_key():
    """Refused, as the signature could not be checked."""
    with pytest.raises(pickling.SignatureError, match="give the key"):
        stackless.loads(stackless.dumps(1, key=KEY))


def test_signature_cannot_be_removed():
    """Nor can it be added without the key."""
    signed, plain = stackless.dumps(1, key=KEY), stackless.dumps(1)
    stripped = signed[:5] + b"\0" + signed[6:14] + signed[30:]
    with pytest.raises(pickle.UnpicklingError):
        stackless.loads(stripped)
    marked = plain[:5] + b"\1" + plain[6:14] + b"\0" * 16 + plain[14:]
    with pytest.raises(pickling.SignatureError):
        stackless.loads(marked, key=KEY)


# ------------------------------------------------------------------ refusals


def test_foreign_formats():
    """Plain pickles, text, empty data."""
    for foreign in (b"", b"hello world, this is text", b"\x93NUMPY\x01\x00", b"PK\x03\x04" * 9):
        with pytest.raises(pickling.NotABlobError):
            stackless.loads(foreign)
    with pytest.raises(pickling.NotABlobError, match="plain pickle"):
        stackless.loads(pickle.dumps([1]))


def test_other_format_version():
    """The error names the version."""
    data = bytearray(stackless.dumps(1))
    data[4] = 77
    with pytest.raises(pickling.NotABlobError, match="format 77.*formats 1 to 2"):
        stackless.loads(data)


def test_every_flipped_bit_is_noticed():
    """So is every missing or additional byte."""
    for options in ({}, {"key": KEY}):
        data = stackless.dumps({"a": 1}, **options)
        for place in range(len(data)):
            for bit in range(8):
                bad = bytearray(data)
                bad[place] ^= 1 << bit
                with pytest.raises(pickling.BlobError):
                    stackless.loads(bad, **options)
            with pytest.raises(pickling.BlobError):
                stackless.loads(data[:place], **options)
        with pytest.raises(pickling.DamagedError):
            stackless.loads(data + b"x", **options)


def sealed(data):
    """Return a blob with another payload and the right checksum."""
    from stackless.pickling import blob

    head = data[:6] + struct.pack("<Q", len(data) - 30)
    return head + blob._seal(head, data[30:]) + data[30:]


def test_other_python():
    """The error names it, and comes before anything is unpickled."""
    data = stackless.dumps(Loud())
    before = Loud.loaded
    other = sealed(data[:30] + struct.pack("<BH", 9, 3425) + data[33:])
    with pytest.raises(pickling.CodeVersionError, match=r"Python 3\.9 .*this is Python 3\."):
        stackless.loads(other)
    assert Loud.loaded == before


def test_too_large():
    """The limit applies to the part behind the checksum."""
    data = stackless.dumps(b"x" * 1000)
    with pytest.raises(pickling.TooLargeError, match="at most 1000"):
        stackless.loads(data, max_size=1000)
    assert len(stackless.loads(data, max_size=2000)) == 1000
    assert len(stackless.loads(data, max_size=None)) == 1000


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: stackless.loads("text"), TypeError),
        (lambda: stackless.loads(None), TypeError),
        (lambda: stackless.loads(b"", max_size="1"), TypeError),
        (lambda: stackless.loads(b"", key="text"), TypeError),
        (lambda: stackless.loads(b"", key=[1]), TypeError),
        (lambda: stackless.loads(b"", key=3), TypeError),
        (lambda: stackless.loads(b"", key=b""), ValueError),
        (lambda: stackless.loads(b"", key=[]), ValueError),
        (lambda: stackless.dumps(1, key="text"), TypeError),
        (lambda: stackless.dumps(1, key=b""), ValueError),
        (lambda: stackless.dumps(1, key=[b"a", b"b"]), TypeError),
        (lambda: stackless.dumps(1, protocol="5"), TypeError),
        (lambda: stackless.dumps(1, protocol=99), ValueError),
        (lambda: stackless.dumps(), TypeError),
        (lambda: stackless.dumps(1, 2), TypeError),
        (lambda: stackless.load(b"bytes"), TypeError),
        (lambda: stackless.dump(1, b"bytes"), TypeError),
    ],
)
def test_wrong_arguments(call, error):
    """TypeError and ValueError."""
    with pytest.raises(error):
        call()


# ------------------------------------------------------------------ sources


@pytest.fixture
def package(tmp_path):
    """A package on disk whose functions are pickled in other processes."""
    place = tmp_path / "shapes"
    place.mkdir()
    (place / "__init__.py").write_text("__version__ = '1.0'\n")
    (place / "area.py").write_text("def area(x):\n    return x * x\n")
    return place


def dumped_there(package):
    child = run_child(
        """
        import sys; sys.path.insert(0, sys.argv[1])
        import stackless, shapes.area
        sys.stdout.write(stackless.dumps([shapes.area.area, len, stackless.run]).hex())
        """,
        args=[package.parent],
    )
    assert child.stderr == ""
    return child.stdout


LOAD = """
import sys; sys.path.insert(0, sys.argv[1])
import stackless
try:
    print(stackless.loads(bytes.fromhex(sys.argv[2]), {})[0](3))
except stackless.pickling.SourceError as error:
    print(error)
"""


def loaded_there(package, data, options=""):
    child = run_child(LOAD.format(options), args=[package.parent, data])
    assert child.stderr == ""
    return child.stdout


def test_same_source(package):
    """The function is the one of the process that unpickles."""
    assert loaded_there(package, dumped_there(package)).strip() == "9"


def test_changed_source(package):
    """Refused with its name, or allowed."""
    data = dumped_there(package)
    (package / "area.py").write_text("def area(x):\n    return x * 100\n")
    text = loaded_there(package, data)
    assert "'shapes.area'" in text
    assert "allow_changed_source" in text
    assert loaded_there(package, data, "allow_changed_source=True").strip() == "300"


def test_changed_version_of_the_package(package):
    """As for a changed source."""
    data = dumped_there(package)
    (package / "__init__.py").write_text("__version__ = '1.1'\n")
    assert "'shapes.area'" in loaded_there(package, data)


def test_missing_module(package):
    """The error names it."""
    data = dumped_there(package)
    (package / "area.py").unlink()
    assert "No module named 'shapes.area'" in loaded_there(package, data)


def test_changed_source_in_the_same_process(package, monkeypatch):
    """A file that changes is read again."""
    monkeypatch.syspath_prepend(package.parent)
    import shapes.area  # noqa: PLC0415

    data = stackless.dumps(shapes.area.area)
    assert stackless.loads(data) is shapes.area.area
    (package / "area.py").write_text("def area(x):\n    return x * 12345\n")
    with pytest.raises(pickling.SourceError):
        stackless.loads(data)
    del sys.modules["shapes.area"], sys.modules["shapes"]


def test_table_of_modules_is_small(package):
    """Python's own modules and this package are not in it."""
    data = bytes.fromhex(dumped_there(package))
    assert data[30:35][3:] == struct.pack("<H", 1)
    assert len(stackless.dumps(1)) <= 45


def test_zipped_modules(tmp_path):
    """Their source is read from the archive."""
    import zipfile

    for number in (1, 2):
        with zipfile.ZipFile(tmp_path / f"{number}.zip", "w") as archive:
            archive.writestr("zipped.py", f"def f(x): return x * {number}")
    there = """
        import sys; sys.path.insert(0, sys.argv[1])
        import stackless, zipped
        sys.stdout.write(stackless.dumps([zipped.f]).hex())
        """
    data = run_child(there, args=[tmp_path / "1.zip"]).stdout
    for number, expected in ((1, "3"), (2, "not the same")):
        child = run_child(LOAD.format(""), args=[tmp_path / f"{number}.zip", data])
        assert expected in child.stdout
        assert child.stderr == ""


def test_damaged_table():
    """Refused also if the checksum is right."""
    rest = struct.pack("<BHH", sys.version_info.minor, pickling.code.MAGIC, 3)
    head = stackless.dumps(1)[:30]
    for table in (b"", b"\xff\xff", b"\x02\x00a", b"\x01\x00\xff" + b"d" * 8):
        with pytest.raises(pickle.UnpicklingError):
            stackless.loads(sealed(head + rest + table))
    for short in range(6):
        with pytest.raises(pickle.UnpicklingError):
            stackless.loads(sealed(head + rest[:short]))


def test_text_of_documentation():
    """The docstrings name every error."""
    for name in ("NotABlobError", "DamagedError", "SignatureError", "TooLargeError", "SourceError"):
        assert issubclass(getattr(pickling, name), pickle.UnpicklingError)
        assert name in textwrap.dedent(stackless.loads.__doc__)
