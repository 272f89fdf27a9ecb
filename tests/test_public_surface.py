"""The public surface of the package: names, docstrings, stubs, and errors where it cannot work."""

import ast
import graphlib
import importlib
import shutil
import sys
import types
from pathlib import Path

import pytest
import stackless
from child_process import run_child

PACKAGE = Path(stackless.__file__).parent
#: The public modules: what is in the package and has no underscore before its name.
MODULES = ["stackless"] + sorted(
    f"stackless.{path.stem}"
    for path in PACKAGE.iterdir()
    if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.name.startswith("_")
)
TYPES = [
    *(stackless.tasklet, stackless.channel, stackless.bomb, stackless.atomic),
    *(stackless.CancelScope, stackless.TaskGroup, stackless.TaskletExecutor),
]


def public_members(kind):
    return [name for name in vars(kind) if not name.startswith("_")]


# ------------------------------------------------------------------ documentation and types


@pytest.mark.parametrize("name", sorted(set(stackless.__all__) | {"bomb", "TaskletExit"}))
def test_public_names_are_documented(name):
    """Every public name has a docstring."""
    thing = getattr(stackless, name)
    if isinstance(thing, (type, types.BuiltinFunctionType, types.FunctionType, types.ModuleType)):
        assert thing.__doc__ and thing.__doc__.strip()


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_members_are_documented(kind):
    """Every public method and attribute of the types as well."""
    undocumented = [name for name in public_members(kind) if not getattr(kind, name).__doc__]
    assert undocumented == []


def stub_names():
    """Top-level names of the stub, and the members of its classes."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    top, members = set(), {}
    for node in tree.body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            top.update(alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.ClassDef):
            top.add(node.name)
            members[node.name] = declared(node.body)
        else:
            top.update(declared([node]))
    return top, members


def declared(statements):
    names = set()
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign):
            names.add(node.target.id)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets)
    return names


def test_stub_names_everything_public():
    """Each exported name, and the attributes of the module."""
    top, _ = stub_names()
    attributes = {"bomb", "TaskletExit", "current", "main", "runcount"}
    limits = {"get_stack_limits", "set_stack_limits"}
    assert (set(stackless.__all__) | attributes | limits) - top == set()


def test_stub_names_the_members_of_the_types():
    """Each public method and attribute."""
    _, members = stub_names()
    for kind in (stackless.tasklet, stackless.channel, stackless.bomb):
        assert set(public_members(kind)) - members[kind.__name__] == set()


def test_package_says_that_it_is_typed():
    """py.typed"""
    assert (PACKAGE / "py.typed").exists()


# ------------------------------------------------------------------ names that the modules show

#: The names that dir(stackless) has besides `stackless.__all__`.
COMPUTED = {
    "TimeoutError",
    "__version__",
    "current",
    "debug",
    "explain",
    "main",
    "map",
    "pickle_with_tracing_state",
    "pickling",
    "runcount",
    "threads",
    "uncollectables",
}


def public_objects(module):
    """The classes and functions that a public module exports and this package defines."""
    for name in dir(module):
        value = getattr(module, name)
        if not isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
            continue
        if value.__module__.partition(".")[0] == "stackless":
            yield name, value


def test_public_modules_are_these():
    assert {name.rpartition(".")[2] for name in MODULES} == {
        *(
            "aio",
            "cluster",
            "durable",
            "explain",
            "integrations",
            "monkey",
            "pickling",
            "scheduler",
        ),
        *("select", "selectors", "servers", "socket", "ssl", "stackless", "sync", "testing"),
    }


def test_the_package_shows_public_names_only():
    child = run_child("import stackless; print(*dir(stackless))")
    assert child.stderr == ""
    assert set(child.stdout.split()) == {*stackless.__all__, *COMPUTED}


@pytest.mark.parametrize("name", MODULES[1:])
def test_a_module_shows_public_names_only(name):
    module = importlib.import_module(name)
    assert dir(module) == sorted(module.__all__)
    assert [each for each in dir(module) if each.startswith("_")] == []
    assert [each for each in dir(module) if not hasattr(module, each)] == []


@pytest.mark.parametrize("name", MODULES)
def test_public_objects_name_public_modules(name):
    """In `__module__`, under which they can be imported, and in their repr."""
    module = importlib.import_module(name)
    for key, value in public_objects(module):
        assert value.__module__ in MODULES, key
        home = importlib.import_module(value.__module__)
        assert getattr(home, value.__name__) is value, key
        assert "stackless._" not in repr(value), key


@pytest.mark.parametrize("name", MODULES)
def test_public_objects_are_pickled_by_public_names(name):
    """Pickles do not depend on the module in which the package keeps them."""
    import pickle

    module = importlib.import_module(name)
    for key, value in public_objects(module):
        data = pickle.dumps(value)
        assert b"stackless._" not in data, key
        assert pickle.loads(data) is value, key


def test_reprs_name_public_modules():
    """Of objects that programs get from this package."""
    from stackless import scheduler, socket

    near, far = socket.socketpair()
    with near, far, near.makefile("rwb") as pair, near.makefile("rb", 0) as raw:
        objects = [
            *(near, pair, raw, near.makefile("rb"), near.makefile("wb")),
            *(stackless.tasklet(), stackless.channel(), stackless.bomb(), stackless.timeout(1)),
            *(stackless.atomic(), stackless.get_stack_limits(), stackless.features()),
            *(scheduler.tasklet(), scheduler.channel(), scheduler.QueueChannel()),
            *(stackless.snapshot()[0], stackless.record("x.json"), stackless),
        ]
        assert [text for text in map(repr, objects) if "stackless._" in text] == []
        for each in objects[3:5]:
            each.close()


def test_every_module_says_what_it_holds():
    for path in PACKAGE.rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text("utf-8"))), path


def imported(path, known):
    """The modules of this package that are imported when one of them is imported."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_modules_do_not_import_in_circles():
    known = {"stackless._stackless": set()}
    paths = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ("stackless", *path.relative_to(PACKAGE).with_suffix("").parts)
        paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    known |= paths
    graph = {name: {*imported(path, known)} & {*known} - {name} for name, path in paths.items()}
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert {*paths} <= {*order}


# ------------------------------------------------------------------ unsupported interpreters


@pytest.fixture
def package_without_compiled_module(tmp_path):
    """The Python files alone, as on an interpreter for which there is no build."""
    shutil.copytree(
        PACKAGE,
        tmp_path / "stackless",
        ignore=shutil.ignore_patterns("*.so", "*.pyd", "*.dylib", "__pycache__"),
    )
    return tmp_path


def import_error(place, prepare=""):
    child = run_child(
        f"""
        import sys
        sys.path.insert(0, {str(place)!r})
        {prepare}
        try:
            import stackless
        except ImportError as error:
            print(error)
        """,
    )
    assert child.returncode == 0, child.stderr
    assert child.stdout.strip(), "the import did not fail"
    return child.stdout


def test_missing_compiled_module_says_what_to_do(package_without_compiled_module):
    """A clear ImportError."""
    text = import_error(package_without_compiled_module)
    assert "stackless" in text
    assert "install" in text or "build" in text


def test_unsupported_interpreter_is_named(package_without_compiled_module):
    """An unknown minor version: an ImportError that names the supported ones and this one."""
    prepare = "sys.version_info = (3, 99, 0, 'final', 0); sys.version = '3.99.0 (main) [GCC]'"
    text = import_error(package_without_compiled_module, prepare)
    for version in ("3.11", "3.15", "3.99"):
        assert version in text


def test_musl_is_refused_by_name(package_without_compiled_module):
    """The ImportError says which C library was found and which is needed."""
    musl = "x86_64-alpine-linux-musl"
    prepare = f"import sysconfig; sysconfig.get_config_vars()['HOST_GNU_TYPE'] = {musl!r}"
    text = import_error(package_without_compiled_module, prepare)
    assert "with glibc" in text and "with musl" in text


def test_running_interpreter_is_a_supported_one():
    """The tests run on an interpreter that is supported."""
    assert (3, 11) <= sys.version_info[:2] <= (3, 15)
    assert sys.implementation.name == "cpython"
