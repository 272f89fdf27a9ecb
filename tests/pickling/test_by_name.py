"""What `dumps` writes by name, and what by value: it is decided anew for each blob."""

import copyreg
import importlib
import pickletools
import sys
import types

import cloudpickle
import pytest
import stackless
from stackless import _stackless
from stackless.pickling import blob, code
from stackless.pickling.pickler import Pickler

PROGRAM = """
import stackless

def function():
    return 1

class Class:
    pass

class Reduces:
    def __reduce_ex__(self, protocol):
        return Reduces.made, (protocol,)

    @staticmethod
    def made(protocol):
        return protocol

class Named:
    def __reduce__(self):
        return "named"

named = Named()

def waits():
    stackless.schedule_remove()
    return 5
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that can be imported, whose names a test changes."""
    (tmp_path / "named_module.py").write_text(PROGRAM)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("named_module")
    sys.modules.pop("named_module", None)


def opened(value, **options):
    return blob.opened(memoryview(stackless.dumps(value, **options)), None, None)


@pytest.fixture(params=[False, True])
def same(request):
    """Returns whether an object is written by its name, so that its copy is the object itself."""

    def same(value):
        return is_by_name(value, same_program=request.param)

    return same


def is_by_name(value, **options):
    ops = [op.name for op, _, _ in pickletools.genops(opened(value, **options).pickle)]
    return "STACK_GLOBAL" in ops and "REDUCE" not in ops


@pytest.mark.parametrize("name", ["function", "Class"])
def test_another_object_has_the_name(module, same, monkeypatch, name):
    """For a while: what was found before is looked up again."""
    value = getattr(module, name)
    assert same(value) and same(value)
    monkeypatch.setattr(module, name, lambda: 2)
    assert not same(value)
    monkeypatch.undo()
    assert same(value)
    monkeypatch.delattr(module, name)
    assert not same(value)


def test_a_module_that_is_loaded_again(module, same):
    """The old functions are copied, with what they do; the new ones are found."""
    old = module.function
    assert same(old)
    importlib.reload(module)
    assert not same(old) and same(module.function)
    assert stackless.loads(stackless.dumps(old))() == 1


@pytest.mark.parametrize("name", ["function", "Class"])
def test_a_module_that_cannot_be_imported(module, same, monkeypatch, name):
    value = getattr(module, name)
    monkeypatch.setattr(module, "__spec__", None)
    assert not same(value)
    monkeypatch.undo()
    assert same(value)
    monkeypatch.delitem(sys.modules, "named_module")
    assert not same(value)
    stranger = types.ModuleType("named_module")
    monkeypatch.setitem(sys.modules, "named_module", stranger)
    assert not same(value)


def test_a_module_that_is_sent_by_value(module, same):
    assert same(module.function) and same(module.Class)
    cloudpickle.register_pickle_by_value(module)
    try:
        assert not same(module.function) and not same(module.Class)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
    assert same(module.function) and same(module.Class)


def test_main(monkeypatch):
    """By name for the same program only."""
    names = {"__name__": "__main__"}
    exec("def function(): return 3\nclass Class: pass", names)
    main = types.ModuleType("__main__")
    main.__dict__.update(names)
    monkeypatch.setitem(sys.modules, "__main__", main)
    for value in (main.Class, types.FunctionType(names["function"].__code__, main.__dict__)):
        setattr(main, value.__name__, value)
        assert is_by_name(value, same_program=True)
        assert not is_by_name(value)


def test_names_that_are_no_strings(module, same):
    """Attributes of functions may be changed to anything."""
    module.function.__module__ = 5
    assert not same(module.function)
    module.function.__module__ = "no_such_module"
    assert not same(module.function)


# ------------------------------------------------------------------ the modules of functions


def test_the_blob_names_the_modules_of_its_functions_each_time(module):
    for _ in range(3):
        assert [name for name, _ in table([module.function])] == ["named_module"]
        assert table([module.Class]) == table([importlib.reload, stackless.run]) == []
        assert table([module.function], same_program=True) == []


def table(value, **options):
    return opened(value, **options).table.modules


# ------------------------------------------------------------------ reducers


def test_a_class_that_is_given_a_reducer_later(module, monkeypatch):
    value = module.Class()
    assert type(stackless.loads(stackless.dumps(value))) is module.Class
    module.Class.__reduce__ = lambda self: (int, ("7",))
    assert stackless.loads(stackless.dumps(value)) == 7
    monkeypatch.setitem(copyreg.dispatch_table, module.Class, lambda each: (int, ("8",)))
    assert stackless.loads(stackless.dumps(value)) == 8
    monkeypatch.undo()
    del module.Class.__reduce__
    assert type(stackless.loads(stackless.dumps(value))) is module.Class


@pytest.mark.parametrize(("given", "used"), [(None, 5), (-1, 5), (2, 2), (4, 4)])
def test_the_protocol_that_a_reducer_gets(module, given, used):
    data = stackless.dumps(module.Reduces(), protocol=given)
    assert stackless.loads(data) == used


def test_a_reducer_that_returns_a_name(module, same, monkeypatch):
    assert same(module.named)
    monkeypatch.delitem(sys.modules, "named_module")
    with pytest.raises(Exception, match="named"):
        same(module.named)


def test_a_reducer_of_builtin_functions(monkeypatch):
    assert stackless.loads(stackless.dumps(len)) is len
    kind = types.BuiltinFunctionType
    monkeypatch.setitem(copyreg.dispatch_table, kind, lambda each: (str, (each.__name__,)))
    assert stackless.loads(stackless.dumps(len)) == "len"


def test_methods_of_builtin_objects():
    """They are no functions of a module, although they have the same type."""
    found = []
    copy = stackless.loads(stackless.dumps((found.append, found)))
    copy[0](5)
    assert copy[1] == [5] and found == []


def test_an_error_of_a_reducer_comes_out(module):
    def fails(self):
        raise ZeroDivisionError

    module.Class.__reduce__ = fails
    with pytest.raises(ZeroDivisionError):
        stackless.dumps(module.Class())
    module.Class.__reduce_ex__ = property(fails)
    with pytest.raises(ZeroDivisionError):
        stackless.dumps(module.Class())


# ------------------------------------------------------------------ code


def test_code_that_the_store_has_is_a_digest_each_time(module):
    tasklet = stackless.tasklet(module.waits)()
    stackless.run()
    store = {}
    first = stackless.dumps(tasklet, code_store=store)
    kept = dict(store)
    store.clear()
    assert stackless.dumps(tasklet, code_store=store) == first and store == kept
    tasklet.kill()


def test_a_reducer_of_code(module, monkeypatch):
    store = {}
    stackless.dumps(module.waits.__code__, code_store=store)
    monkeypatch.setitem(copyreg.dispatch_table, types.CodeType, lambda each: (str, (each.co_name,)))
    data = stackless.dumps(module.waits.__code__, code_store=store)
    assert stackless.loads(data, code_store=store) == "waits"


def test_code_at_the_address_of_code_that_is_gone():
    """The facts of one are not those of the other."""
    digests = set()
    for number in range(200):
        names = {}
        exec(f"def f(): return {number}", names)
        store = {}
        stackless.dumps(names["f"].__code__, code_store=store)
        digests.update(store)
        assert set(store) == {code.digest_of(names["f"].__code__)}
        del names
    assert len(digests) == 200


# ------------------------------------------------------------------ the method itself


def test_wrong_uses():
    with pytest.raises(TypeError, match="Pickler"):
        Pickler.reducer_override(object(), 5)
    for wrong in [(Pickler, ()), (5, (1,) * 12), (Pickler, [1] * 12)]:
        with pytest.raises(TypeError, match="parts"):
            _stackless._reducer_override(*wrong)
