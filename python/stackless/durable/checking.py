"""`check`: finds what would prevent a workflow from being saved, by reading its source."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import inspect
import sys
import textwrap
import types
from collections.abc import Callable, Iterator
from typing import Any

from stackless.durable import calls, parallel
from stackless.durable.obstacles import METHODS, is_obstacle, obstacle

#: Functions in which a workflow may be saved; besides steps.
_PAUSES = (
    *(calls.sleep, calls.receive, calls.upgrade_point),
    *(parallel.gather, parallel.map, parallel.start, parallel.Child.join),
)
#: Packages whose functions are not read.
_OTHERS = {*sys.stdlib_module_names, "stackless"} - {"__main__"}
#: Methods of what Python itself has: nothing durable is called by them.
_KNOWN = {
    name for kind in (str, bytes, list, dict, set, tuple, int, float) for name in dir(kind)
} - {"sort"}


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """Something that would prevent a workflow from being saved."""

    file: str
    #: From 1.
    line: int
    function: str
    problem: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}, in {self.function}: {self.problem}; {self.remedy}"


class Findings(list[Finding]):
    """What `check` has found, and in `unseen` which calls it could not look into."""

    def __init__(self) -> None:
        super().__init__()
        self.unseen: list[str] = []


def check(function: Callable[..., Any]) -> Findings:
    """Return what would probably prevent a workflow from being saved; empty if nothing was found.

    The source of the function, and of the Python functions that it calls by name, is read; nothing
    is run. Found are variables that hold files, connections, locks, threads, matches and the like
    at a durable call, such iterators in loops around one, and durable calls made by C code:
    callbacks of `sorted` or `map`, generators given to `sum` or `list`, special methods.

    This is a hint, and no proof: types are taken from calls, annotations and global variables only,
    and the order of the source stands for that of its execution. What arguments hold, what objects
    have in their attributes, and methods of objects are not seen: `unseen` of the result lists the
    calls that were not looked into. `stackless.why_not_picklable` is exact, for one state.

    Raises TypeError for what is no function, OSError if its source cannot be read.
    """
    while hasattr(function, "__wrapped__"):
        function = function.__wrapped__
    if not isinstance(function, types.FunctionType):
        raise TypeError(f"check() needs a function, not {type(function).__name__}")
    inspect.getsource(function)
    checker = _Checker()
    checker.function(function)
    code = function.__code__
    if code.co_flags & (inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_GENERATOR):
        kind = "a generator" if code.co_flags & inspect.CO_GENERATOR else "asynchronous"
        checker.found.insert(
            0,
            Finding(
                *(code.co_filename, code.co_firstlineno, code.co_qualname),
                f"the workflow is {kind}: a call of it runs nothing",
                "write an ordinary function",
            ),
        )
    return checker.found


class _Checker:
    """Reads functions; each once."""

    def __init__(self) -> None:
        self.found = Findings()
        self._bodies: dict[types.CodeType, _Body] = {}

    def body(self, function: types.FunctionType) -> _Body:
        code = function.__code__
        if code not in self._bodies:
            self._bodies[code] = _Body(self, function)
        return self._bodies[code]

    def function(self, function: types.FunctionType) -> None:
        body = self.body(function)
        if not body.checked:
            body.checked = True
            body.check()

    def pauses(self, thing: Any) -> bool:
        """Return True if a call of this may be a durable call, or lead to one."""
        if isinstance(thing, types.MethodType):
            thing = thing.__func__
        if hasattr(thing, "__durable_step__") or any(thing is each for each in _PAUSES):
            return True
        thing = inspect.unwrap(thing) if isinstance(thing, types.FunctionType) else thing
        return _is_looked_into(thing) and self.body(thing).pauses()


class _Body:
    """The source of one function."""

    def __init__(self, checker: _Checker, function: types.FunctionType) -> None:
        self.checker = checker
        self._function = function
        self.checked = False
        self._pauses: bool | None = None
        code = function.__code__
        self._names = {**vars(builtins), **function.__globals__, **_closed(function)}
        self._locals = set(code.co_varnames) | set(code.co_cellvars)
        #: Functions that are defined inside, by name.
        self._inner: dict[str, ast.AST] = {}
        self._node = _source_of(function)
        if self._node is None:
            self._unseen(code.co_firstlineno, "its source cannot be read")
            return
        ast.increment_lineno(self._node, code.co_firstlineno - _first_line(self._node))
        for each in _walk(self._node):
            if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                self._inner[each.name] = each
            elif isinstance(each, ast.Assign) and isinstance(each.value, ast.Lambda):
                self._inner |= {t.id: each.value for t in each.targets if isinstance(t, ast.Name)}

    # -------------------------------------------------------------- what names mean

    def meaning(self, node: ast.AST | None) -> Any:
        """Return the object that an expression names, or None."""
        if isinstance(node, ast.Name):
            return None if node.id in self._locals else self._names.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self.meaning(node.value)
            if isinstance(owner, types.ModuleType):
                return vars(owner).get(node.attr)
            if isinstance(owner, type):
                found = inspect.getattr_static(owner, node.attr, None)
                return found.__func__ if isinstance(found, (staticmethod, classmethod)) else found
        return None

    def pauses(self) -> bool:
        """Return True if the function may make a durable call."""
        if self._pauses is None:
            self._pauses = False  # while it is looked into: recursion adds nothing
            self._pauses = self._node is not None and any(self._calls(self._node))
        return self._pauses

    def _calls(self, node: ast.AST) -> Iterator[ast.Call]:
        """Yield the calls in a node that are durable calls, or lead to one."""
        for each in _walk(node):
            if isinstance(each, ast.Call) and self._call_pauses(each):
                yield each

    def _call_pauses(self, call: ast.Call) -> bool:
        if isinstance(call.func, ast.Name) and call.func.id in self._inner:
            inner = self._inner[call.func.id]
            return any(self._calls(part) for part in ast.iter_child_nodes(inner))
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("join", "result"):
            made = self._made_by(call.func.value)
            if made is parallel.start:
                return True
        if self.checker.pauses(self.meaning(call.func)):
            return True
        return any(map(self._gives_pausing, _arguments(call)))

    def _made_by(self, node: ast.AST) -> Any:
        """Return the function whose result a local variable is."""
        if not isinstance(node, ast.Name) or self._node is None:
            return None
        for each in _walk(self._node):
            if isinstance(each, ast.Assign) and isinstance(each.value, ast.Call):
                if any(isinstance(t, ast.Name) and t.id == node.id for t in each.targets):
                    return self.meaning(each.value.func)
        return None

    def _gives_pausing(self, node: ast.AST) -> bool:
        """Return True for an argument that makes durable calls when it is called or iterated."""
        if isinstance(node, (ast.Lambda, ast.GeneratorExp)):
            return any(self._calls(node))
        if isinstance(node, ast.Name) and node.id in self._inner:
            return any(self._calls(part) for part in ast.iter_child_nodes(self._inner[node.id]))
        return self.checker.pauses(self.meaning(node))

    # -------------------------------------------------------------- checks

    def check(self) -> None:
        if self._node is None or not self.pauses():
            return
        self._check_variables()
        for each in _walk(self._node):
            if isinstance(each, ast.Call):
                self._check_call(each)
            elif isinstance(each, (ast.With, ast.AsyncWith)):
                self._check_with(each)
            elif isinstance(each, (ast.For, ast.AsyncFor)) and any(
                map(any, map(self._calls, each.body))
            ):
                what = self._obstacle(each.iter)
                if what is not None:
                    self._add(
                        each, f"the loop, with a durable call in it, holds {what[0]}", what[1]
                    )
            elif isinstance(each, ast.Global):
                self._add(
                    each,
                    f"the global {', '.join(each.names)} is not saved with the workflow",
                    "keep it in a local variable, or let a step change it",
                )
        if sys.version_info < (3, 12) and self._function.__code__.co_flags & inspect.CO_GENERATOR:
            self._add(
                self._node,
                "a generator makes durable calls, which Python 3.11 cannot save",
                "let it yield what the workflow then gives to steps",
            )

    def _check_variables(self) -> None:
        assert self._node is not None
        pauses = sorted((call.lineno, call.col_offset) for call in self._calls(self._node))
        loops = [
            (each.lineno, each.end_lineno or each.lineno)
            for each in _walk(self._node)
            if isinstance(each, (ast.For, ast.While))
        ]
        events = sorted(self._bindings(), key=lambda each: (each[1].lineno, each[1].col_offset))
        for number, (name, node, what) in enumerate(events):
            if what is None:
                continue
            at = (node.lineno, node.col_offset)
            later = [each[1] for each in events[number + 1 :] if each[0] == name]
            end = (later[0].lineno, later[0].col_offset) if later else (sys.maxsize, 0)
            around = [lines for lines in loops if lines[0] <= at[0] <= lines[1]]
            held = [each for each in pauses if at < each < end]
            if not later:  # in the next turn of a loop
                held += [each for each in pauses for first, _ in around if first <= each[0] < at[0]]
            if held:
                line = held[0][0]
                text = f"{name!r} holds {what[0]} at the durable call in line {line}"
                self._add(node, text, what[1])

    def _bindings(self) -> Iterator[tuple[str, Any, tuple[str, str] | None]]:
        """Yield the names that are bound or deleted, where, and what obstacle they hold then."""
        node = self._node
        arguments = node.args
        for each in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
            yield each.arg, each, self._annotated(each.annotation)
        assert node is not None
        for each in _walk(node):
            if isinstance(each, ast.Assign):
                for target in each.targets:
                    yield from self._targets(target, self._obstacle(each.value))
            elif isinstance(each, ast.AnnAssign):
                what = self._obstacle(each.value) or self._annotated(each.annotation)
                yield from self._targets(each.target, what)
            elif isinstance(each, ast.NamedExpr):
                yield from self._targets(each.target, self._obstacle(each.value))
            elif isinstance(each, (ast.With, ast.AsyncWith)):
                for item in each.items:
                    if item.optional_vars is not None:
                        what = self._obstacle(item.context_expr)
                        yield from self._targets(item.optional_vars, what)
            elif isinstance(each, ast.Delete):
                for target in each.targets:
                    yield from self._targets(target, None)

    def _targets(self, target: ast.AST, what: Any) -> Iterator[tuple[str, Any, Any]]:
        if isinstance(target, ast.Name):
            yield target.id, target, what
        elif isinstance(target, (ast.Tuple, ast.List)):
            for each in target.elts:
                yield from self._targets(each, None)

    def _obstacle(self, value: ast.AST | None) -> tuple[str, str] | None:
        """Return what an expression makes or is, if that cannot be pickled."""
        if isinstance(value, ast.Call):
            found = obstacle(self.meaning(value.func))
            if found is None and isinstance(value.func, ast.Attribute):
                if self.meaning(value.func) is None:
                    return METHODS.get(value.func.attr)
            return found
        thing = self.meaning(value)
        return None if thing is None or isinstance(thing, type) else is_obstacle(thing)

    def _annotated(self, node: ast.AST | None) -> tuple[str, str] | None:
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                node = ast.parse(node.value, mode="eval").body
            except SyntaxError:
                return None
        if isinstance(node, ast.BinOp):
            return self._annotated(node.left) or self._annotated(node.right)
        if isinstance(node, ast.Subscript):
            inside = self._annotated(node.slice) if not isinstance(node.slice, ast.Tuple) else None
            return self._annotated(node.value) or inside
        meaning = self.meaning(node)
        return None if meaning is None else obstacle(meaning)

    def _check_with(self, node: ast.With | ast.AsyncWith) -> None:
        inside = any(any(self._calls(each)) for each in node.body)
        for item in node.items:
            expression = item.context_expr
            what = self._obstacle(expression)
            if inside and what is not None and item.optional_vars is None:
                self._add(
                    expression, f"a durable call is made while the block holds {what[0]}", what[1]
                )
            made = self.meaning(expression.func if isinstance(expression, ast.Call) else None)
            managers = [made] if hasattr(made, "__wrapped__") else []
            if isinstance(made, type):
                managers = [getattr(made, name, None) for name in ("__enter__", "__exit__")]
            if any(map(self.checker.pauses, managers)):
                self._add(
                    expression,
                    "the context manager makes durable calls, and Python calls it from C code",
                    "use try and finally, and make the calls there",
                )

    def _check_call(self, call: ast.Call) -> None:
        meaning = self.meaning(call.func)
        if isinstance(meaning, type) and self.checker.pauses(getattr(meaning, "__init__", None)):
            self._add(
                call,
                f"{meaning.__qualname__}.__init__ makes durable calls, and C code calls it",
                "make the calls in a function, and give the object their results",
            )
        by_python = isinstance(meaning, types.FunctionType) or self.checker.pauses(meaning)
        inner = isinstance(call.func, ast.Name) and call.func.id in self._inner
        name = ast.unparse(call.func)
        for each in _arguments(call):
            if by_python or inner or not self._gives_pausing(each):
                continue
            if name.rpartition(".")[2] == "partial":
                continue  # for durable.gather
            text = f"{name}() is C code, and makes the durable calls of {ast.unparse(each)!r}"
            if not isinstance(meaning, (types.BuiltinFunctionType, type)) and meaning is not None:
                text = f"{name}() makes the durable calls of {ast.unparse(each)!r}"
            self._add(each, text, "make them in a loop or a list comprehension, before this call")
        self._follow(call, meaning)

    def _follow(self, call: ast.Call, meaning: Any) -> None:
        if hasattr(meaning, "__durable_step__") or any(meaning is each for each in _PAUSES):
            return
        if isinstance(meaning, types.FunctionType):
            if _is_looked_into(meaning):
                self.checker.function(inspect.unwrap(meaning))
        elif meaning is None and isinstance(call.func, (ast.Attribute, ast.Subscript, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            if name not in _KNOWN and not self._call_pauses(call):
                self._unseen(call.lineno, f"{ast.unparse(call.func)}() is not looked into")
        elif meaning is None and isinstance(call.func, ast.Name):
            if call.func.id not in self._inner:
                self._unseen(call.lineno, f"{call.func.id}() is not looked into")

    def _add(self, node: Any, problem: str, remedy: str) -> None:
        code = self._function.__code__
        finding = Finding(code.co_filename, node.lineno, code.co_qualname, problem, remedy)
        if finding not in self.checker.found:
            self.checker.found.append(finding)

    def _unseen(self, line: int, what: str) -> None:
        text = f"{self._function.__code__.co_filename}:{line}: {what}"
        if text not in self.checker.found.unseen:
            self.checker.found.unseen.append(text)


def _is_looked_into(thing: Any) -> bool:
    """Return True for functions of the program: others make no durable calls of their own."""
    if not isinstance(thing, types.FunctionType):
        return False
    return thing.__module__.partition(".")[0] not in _OTHERS


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _walk(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes in a function that are run when it runs, in the order of the source."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _walk(child)


def _source_of(function: types.FunctionType) -> Any:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, SyntaxError):  # no file, or a lambda in the middle of a statement
        return None
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return tree.body[0] if tree.body and isinstance(tree.body[0], kinds) else None


def _first_line(node: Any) -> int:
    first: int = min([node.lineno, *(each.lineno for each in node.decorator_list)])
    return first


def _closed(function: types.FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not bound yet
            continue
    return found
