"""`stackless.pickling.register`: objects that are made again when they are unpickled."""

import copyreg
import io
import pickle
import threading

import pytest
import stackless
from stackless.pickling import register, unregister


class Connection:
    def __init__(self, address):
        self.address = address
        self.lock = threading.Lock()


class Child(Connection):
    pass


@pytest.fixture
def registered():
    """Register, and undo it after the test."""
    kinds = []

    def do(kind, dump, load):
        register(kind, dump, load)
        kinds.append(kind)

    yield do
    for kind in kinds:
        unregister(kind)


def test_made_again(registered):
    """By dumps and by plain pickle; one object remains one object."""
    registered(Connection, lambda each: each.address, Connection)
    value = [Connection("here"), 1]
    value.append(value[0])
    for back in (
        stackless.loads(stackless.dumps(value)),
        pickle.loads(pickle.dumps(value)),
        pickle._loads(pickle._dumps(value)),
    ):
        assert back[0].address == "here"
        assert back[0] is back[2]


def test_exactly_this_type(registered):
    """Types derived from it are not affected."""
    registered(Connection, lambda each: each.address, Connection)
    with pytest.raises(TypeError):
        stackless.dumps(Child("here"))


def test_load_may_be_any_function(registered):
    """A nested function or a lambda, in plain pickle as well."""
    suffix = "!"
    registered(Connection, lambda each: each.address, lambda text: Connection(text + suffix))
    assert stackless.loads(stackless.dumps(Connection("a"))).address == "a!"
    assert pickle.loads(pickle.dumps(Connection("a"))).address == "a!"


def test_description_is_pickled_like_anything(registered):
    """It may contain functions and other objects."""
    registered(Connection, lambda each: [each.address, lambda: 3], lambda d: (d[0], d[1]()))
    assert stackless.loads(stackless.dumps(Connection((1, 2)))) == ((1, 2), 3)


def test_errors_come_out(registered):
    """Those of both functions are raised."""
    registered(Connection, lambda each: each.missing, Connection)
    with pytest.raises(AttributeError, match="missing"):
        stackless.dumps(Connection(1))
    registered(Child, lambda each: 5, lambda description: description.missing)
    data = stackless.dumps(Child(1))
    with pytest.raises(AttributeError, match="missing"):
        stackless.loads(data)


def test_register_again_and_undo():
    """The last registration counts; undoing it restores the state before."""

    def before(each):
        return str, ("before",)

    copyreg.pickle(Connection, before)
    try:
        register(Connection, lambda each: 1, lambda one: "first")
        register(Connection, lambda each: 1, lambda one: "second")
        assert stackless.loads(stackless.dumps(Connection(0))) == "second"
        unregister(Connection)
        assert copyreg.dispatch_table[Connection] is before
        with pytest.raises(KeyError):
            unregister(Connection)
    finally:
        del copyreg.dispatch_table[Connection]


def test_wrong_arguments():
    """TypeError."""
    for arguments in [
        (3, str, str),
        (Connection, 3, str),
        (Connection, str, None),
        (Connection, str),
    ]:
        with pytest.raises(TypeError):
            register(*arguments)
    assert Connection not in copyreg.dispatch_table


def test_file_is_opened_again_at_its_position(tmp_path, registered):
    """This is the remedy for open files."""
    path = tmp_path / "lines"
    path.write_text("one\ntwo\nthree\n")

    def describe(file):
        return file.name, file.mode, file.encoding, file.tell()

    def reopen(description):
        name, mode, encoding, position = description
        file = open(name, mode, encoding=encoding)
        file.seek(position)
        return file

    registered(io.TextIOWrapper, describe, reopen)
    with open(path) as file:
        file.readline()
        data = stackless.dumps([file])
        assert file.readline() == "two\n"
    (back,) = stackless.loads(data)
    with back:
        assert back.read() == "two\nthree\n"
