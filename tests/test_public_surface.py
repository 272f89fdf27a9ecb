"""The package as it is shipped: documentation, stubs, and errors where it cannot work."""

import ast
import shutil
import sys
import types
from pathlib import Path

import pytest
import stackless
from child_process import run_child

PACKAGE = Path(stackless.__file__).parent
TYPES = [stackless.tasklet, stackless.channel, stackless.bomb, stackless.atomic]


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


# ------------------------------------------------------------------ where it cannot work


@pytest.fixture
def package_without_compiled_module(tmp_path):
    """The Python files alone, as on an interpreter there is no build for."""
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
    """An unknown Python minor: an ImportError that names the supported ones and this one."""
    prepare = "sys.version_info = (3, 99, 0, 'final', 0); sys.version = '3.99.0 (main) [GCC]'"
    text = import_error(package_without_compiled_module, prepare)
    for version in ("3.11", "3.15", "3.99"):
        assert version in text


def test_musl_is_refused_by_name(package_without_compiled_module):
    """An ImportError that says which C library there is and which is needed."""
    musl = "x86_64-alpine-linux-musl"
    prepare = f"import sysconfig; sysconfig.get_config_vars()['HOST_GNU_TYPE'] = {musl!r}"
    text = import_error(package_without_compiled_module, prepare)
    assert "with glibc" in text and "with musl" in text


def test_running_interpreter_is_a_supported_one():
    """What the tests run on is what is promised."""
    assert (3, 11) <= sys.version_info[:2] <= (3, 15)
    assert sys.implementation.name == "cpython"
