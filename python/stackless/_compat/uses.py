"""Finds what a source file uses of Stackless: in its syntax tree or, if Python 3 cannot parse it,
in its text. `table` says which of the uses matter."""

from __future__ import annotations

import ast
import builtins
import io
import re
import sys
import tokenize
import warnings
from dataclasses import dataclass, field
from typing import NamedTuple

#: From 3.14 on `except A, b:` is Python 3 as well (PEP 758); in an old program it is Python 2.
SYNTAX = min(sys.version_info[:2], (3, 13))


class Use(NamedTuple):
    """One place in a source file. Lines and columns count from 1, columns in characters."""

    #: "module": a name of the module stackless; "import": an import of another module;
    #: "tasklet", "channel": an attribute of such an object; "attribute": of an object of unknown
    #: type; "call": a way of calling; "c": a name of the C interface.
    kind: str
    name: str
    line: int
    column: int
    #: True if the program tests that the name exists (hasattr, try) before it uses it.
    guarded: bool = False


@dataclass
class Reading:
    """Everything that one file uses."""

    uses: list[Use] = field(default_factory=list)
    #: True if it imports stackless, or a module that is built on it.
    stackless: bool = False
    #: The first construct that Python 3 does not have, and the number of such constructs.
    python2: tuple[int, int, str] | None = None
    python2_count: int = 0
    #: Why Python cannot parse it, if it does not look like Python 2.
    broken: tuple[int, int, str] | None = None
    #: Names that the program itself sets in the module stackless.
    stored: set[str] = field(default_factory=set)


Scope = tuple[int, int]  # where a function begins

FAMILY = {"stackless", "_stackless", "scheduler", "stacklesslib", "stacklesssocket", "uthread"}
RETURN_SELF = {"bind", "setup", "insert", "remove", "set_context"}
COPIERS = {f"{m}.{f}" for m in ("pickle", "cPickle") for f in ("dump", "dumps")}
COPIERS |= {"copy.copy", "copy.deepcopy"}
C_NAME = re.compile(
    r"\b(?:Py(?:Tasklet|Channel|Stackless|Bomb)(?:_\w+|Object)|STACKLESS(?:_\w+)?|Py_TPFLAGS_HAVE_STACKLESS\w*)"
    r"|stackless_(?:api|structs|impl)\.h"
)
#: Builtins of Python 2 only, without those whose names are common names of variables.
OLD_BUILTINS = set(
    "apply basestring coerce execfile long raw_input reload unichr unicode xrange".split()
)
OLD_METHODS = {"has_key", "iteritems", "iterkeys", "itervalues"}


def read_python(data: bytes) -> Reading:
    """Find the uses in a Python file, of version 3 or 2."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        text = _lines(data.decode(encoding))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in strings, and the like
            tree = ast.parse(text, feature_version=SYNTAX)
    except UnicodeDecodeError:
        wrong = SyntaxError("not in the encoding that it declares, or in UTF-8 if it declares none")
        return _read_text(_lines(data.decode("latin-1")), wrong)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as error:
        return _read_text(_lines(data.decode("latin-1")), error)
    reader = _Reader(text)
    reader.visit(tree)  # learns what is a tasklet
    reader.reading, reader.old = Reading(), []
    reader.visit(tree)
    reading = reader.reading
    if reader.old:
        reading.python2 = min(reader.old)
        reading.python2_count = len(set(reader.old))
    return reading


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_c(data: bytes) -> Reading:
    """Find the first use of each name of the C interface in a C, C++ or Cython file."""
    text = _lines(data.decode("utf-8", "replace"))
    reading = Reading()
    seen = set()
    for number, line in enumerate(text.split("\n"), 1):
        for match in C_NAME.finditer(line):
            if match[0] not in seen and _is_code(line, match):
                seen.add(match[0])
                reading.uses.append(Use("c", match[0], number, match.start() + 1))
    reading.stackless = bool(reading.uses)
    return reading


def _is_code(line: str, match: re.Match[str]) -> bool:
    """Return True unless it is a plain STACKLESS outside of a preprocessor line."""
    return match[0] != "STACKLESS" or line.lstrip().startswith("#")


# ---------------------------------------------------------------------- Python 3: the tree


class _Reader(ast.NodeVisitor):
    """Walks the tree twice: the first pass infers the types of names, the second uses them."""

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.reading = Reading()
        self.paths: dict[str, str] = {}  # local name -> what it was imported as
        self.types: dict[tuple[Scope, str], str | None] = {}  # -> "tasklet", "channel"
        self.attributes: dict[str, str | None] = {}  # x.name, whatever x
        self.classes: dict[str, str] = {}  # subclasses of tasklet and channel
        self.scopes: list[Scope] = [(0, 0)]
        self.inside: list[str | None] = [None]  # what the innermost class is
        self.guards = 0
        self.asked: set[str] = set()  # hasattr(stackless, name)
        self.star = False
        self.bound: set[str] = set()  # all names that the file gives a value
        self.old: list[tuple[int, int, str]] = []

    # -- what things are

    def path(self, node: ast.AST) -> str | None:
        """Return what an expression refers to, such as `stackless.tasklet`, through imports."""
        if isinstance(node, ast.Name):
            known = node.id in self.paths or node.id in self.bound or hasattr(builtins, node.id)
            if self.star and not known:
                return "stackless" if node.id == "stackless" else f"stackless.{node.id}"
            return self.paths.get(node.id)
        if isinstance(node, ast.Attribute):
            base = self.path(node.value)
            return base and (base if base == node.attr == "stackless" else f"{base}.{node.attr}")
        return None

    def type_of(self, node: ast.AST) -> str | None:
        """Return "tasklet", "channel", or None if the type is not known."""
        path = self.path(node)
        if path in ("stackless.current", "stackless.main"):
            return "tasklet"
        if isinstance(node, ast.Name):
            for scope in reversed(self.scopes):
                if (scope, node.id) in self.types:
                    return self.types[scope, node.id]
        elif isinstance(node, ast.Attribute):
            owner = self.type_of(node.value)
            known = {("tasklet", "next"): "tasklet", ("tasklet", "prev"): "tasklet"}
            known |= {("tasklet", "_channel"): "channel", ("channel", "queue"): "tasklet"}
            return known.get((owner or "", node.attr)) or self.attributes.get(node.attr)
        elif isinstance(node, ast.NamedExpr):
            return self.type_of(node.value)
        elif isinstance(node, ast.Call):
            return self.made_by(node.func)
        return None

    def made_by(self, function: ast.AST) -> str | None:
        path = self.path(function)
        if path in ("stackless.tasklet", "stackless.getcurrent", "stackless.getmain"):
            return "tasklet"
        if path == "stackless.channel":
            return "channel"
        if isinstance(function, ast.Name) and function.id in self.classes:
            return self.classes[function.id]
        if self.type_of(function) == "tasklet":
            return "tasklet"  # t(...) is t
        if isinstance(function, ast.Attribute) and function.attr in RETURN_SELF:
            return "tasklet" if self.type_of(function.value) == "tasklet" else None
        return None

    def learn(self, target: ast.expr, value: ast.expr) -> None:
        if isinstance(value, ast.Constant) and value.value is None:
            return  # `self.task = None` comes before the real one
        kind = self.type_of(value)
        if isinstance(target, ast.Name):
            path = self.path(value)
            if path and path.startswith("stackless"):
                self.paths[target.id] = path
            key = (self.scopes[-1], target.id)
            self.types[key] = kind if self.types.get(key, kind) == kind else None
        elif isinstance(target, ast.Attribute):
            before = self.attributes.get(target.attr, kind)
            self.attributes[target.attr] = kind if before == kind else None

    # -- what is reported

    def use(self, kind: str, name: str, node: ast.AST) -> None:
        line, column = self.place(node)
        guarded = bool(self.guards) or (kind == "module" and name in self.asked)
        self.reading.uses.append(Use(kind, name, line, column, guarded))

    def place(self, node: ast.AST) -> tuple[int, int]:
        line: int = getattr(node, "lineno", 1)
        offset: int = getattr(node, "col_offset", 0)
        if isinstance(node, ast.Attribute) and node.end_lineno is not None:
            # The position of the attribute's own name, not the beginning of the chain.
            line, offset = node.end_lineno, (node.end_col_offset or 0) - len(node.attr.encode())
        text = self.lines[line - 1].encode()[:offset].decode(errors="replace")
        return line, len(text) + 1

    def old_construct(self, node: ast.AST, what: str) -> None:
        if not self.guards:
            self.old.append((*self.place(node), what))

    # -- the nodes

    def visit_Import(self, node: ast.Import) -> None:
        for alias in node.names:
            top, _, rest = alias.name.partition(".")
            self.paths[alias.asname or top] = alias.name if alias.asname else top
            self.bound.add(alias.asname or top)
            self.imported(top, rest, alias)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        if node.level or not node.module:
            self.bound.update(alias.asname or alias.name for alias in node.names)
            return
        top, _, rest = node.module.partition(".")
        self.imported(top, rest, node)
        for alias in node.names:
            if alias.name == "*":
                self.star = self.star or node.module == "stackless"
                continue
            itself = node.module == alias.name == "stackless"
            whole = "stackless" if itself else f"{node.module}.{alias.name}"
            self.paths[alias.asname or alias.name] = whole
            self.bound.add(alias.asname or alias.name)
            if node.module == "stackless" and not itself:
                self.use("module", alias.name, alias)
            elif top != "stackless":
                self.use("import", whole, alias)

    def imported(self, top: str, rest: str, node: ast.AST) -> None:
        self.reading.stackless |= top in FAMILY
        if top == "stackless":
            if rest:
                self.use("module", rest.partition(".")[0], node)
        else:
            self.use("import", top, node)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = self.path(node.value)
        kind = self.type_of(node.value)
        if base == "stackless":
            self.use("module", node.attr, node)
            if isinstance(node.ctx, ast.Store):
                self.reading.stored.add(node.attr)
        elif base and not base.startswith("stackless."):
            self.use("import", f"{base}.{node.attr}", node)
        elif base in ("stackless.tasklet", "stackless.channel"):
            self.use(base.partition(".")[2], node.attr, node)
        elif kind:
            self.use(kind, node.attr, node)
        else:
            self.use("attribute", node.attr, node)
        if C_NAME.fullmatch(node.attr):
            self.use("c", node.attr, node)
            self.reading.stackless = True
        old = node.attr in OLD_METHODS and node.attr not in self.bound
        if old and not base and isinstance(node.ctx, ast.Load):
            self.old_construct(node, f"the method {node.attr}()")
        self.generic_visit(node)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self.bound.add(node.id)
        elif node.id not in self.bound and not hasattr(builtins, node.id):
            if node.id in OLD_BUILTINS:
                self.old_construct(node, f"the builtin {node.id}")
            elif self.star:
                self.use("star", node.id, node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, (ast.Tuple, ast.List)) and isinstance(
                node.value, (ast.Tuple, ast.List)
            ):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    self.learn(one, value)
            self.learn(target, node.value)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.learn(node.target, node.value)
        self.generic_visit(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> None:
        self.learn(node.target, node.value)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        path = self.path(node.func)
        first = node.args[0] if node.args else None
        none = isinstance(first, ast.Constant) and first.value is None
        constant = first.value if isinstance(first, ast.Constant) else ...
        if path == "stackless.run":
            named = {keyword.arg for keyword in node.keywords}
            if (first and constant not in (0, None)) or "timeout" in named:
                self.use("call", "run(timeout)", node)
        elif path in COPIERS and first and self.type_of(first):
            self.use("call", f"pickle({self.type_of(first)})", node)
        elif path == "sys.setrecursionlimit":
            self.use("call", "sys.setrecursionlimit", node)
        elif isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            self.asked_for(node)
        if isinstance(node.func, ast.Attribute):
            owner = self.type_of(node.func.value)
            if node.func.attr == "bind" and (
                (none and len(node.args) == 1) or (owner == "tasklet" and not node.args)
            ):
                if not node.keywords:
                    self.use("call", "bind(None)", node)
            elif node.func.attr == "close" and owner == "channel":
                self.use("call", "close()", node)
        self.generic_visit(node)

    def asked_for(self, node: ast.Call) -> None:
        match node.args:
            case [module, ast.Constant(value=str(name)), *default]:
                if self.path(module) == "stackless" and isinstance(node.func, ast.Name):
                    if node.func.id == "hasattr" or default:
                        self.asked.add(name)
                    else:
                        self.use("module", name, node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.RShift) and getattr(node.left, "id", "") == "print":
            self.old_construct(node, "a print statement")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        text = node.left.value if isinstance(node.left, ast.Constant) else None
        if isinstance(text, str) and "stackless" in text.lower():
            if any(
                self.path(other) in ("sys.version", "sys.subversion") for other in node.comparators
            ):
                self.use("call", "sys.version", node)
                self.reading.stackless = True
        self.generic_visit(node)

    def visit_Try(self, node: ast.Try) -> None:
        caught = {"ImportError", "ModuleNotFoundError", "AttributeError", "NameError", "Exception"}
        guards = any(
            handler.type is None
            or any(isinstance(n, ast.Name) and n.id in caught for n in ast.walk(handler.type))
            for handler in node.handlers
        )
        self.guards += guards
        for statement in node.body:
            self.visit(statement)
        for handler in node.handlers:  # the alternative is guarded as well
            self.visit(handler)
        self.guards -= guards
        for statement in [*node.orelse, *node.finalbody]:
            self.visit(statement)

    def visit_If(self, node: ast.If | ast.IfExp) -> None:
        """Code that tests the version of Python is guarded."""
        asked = {"version_info", "hexversion", "PY2", "PY3"}
        names = (getattr(n, "attr", getattr(n, "id", "")) for n in ast.walk(node.test))
        guards = not asked.isdisjoint(names)
        self.guards += guards
        self.generic_visit(node)
        self.guards -= guards

    visit_IfExp = visit_If

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self.bound.add(node.name)
        self.generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.bound.add(node.name)
        kind = next(
            (
                found
                for base in node.bases
                if (
                    found := {"stackless.tasklet": "tasklet", "stackless.channel": "channel"}.get(
                        self.path(base) or "", self.classes.get(getattr(base, "id", ""))
                    )
                )
            ),
            None,
        )
        if kind:
            self.classes[node.name] = kind
        self.inside.append(kind)
        self.generic_visit(node)
        self.inside.pop()

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) -> None:
        self.bound.add(getattr(node, "name", ""))
        self.scopes.append((node.lineno, node.col_offset))
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        arguments += [a for a in (node.args.vararg, node.args.kwarg) if a]
        for number, argument in enumerate(arguments):
            self.bound.add(argument.arg)
            own = self.inside[-1] if number == 0 else None
            self.types[self.scopes[-1], argument.arg] = own
        self.inside.append(None)
        self.generic_visit(node)
        self.inside.pop()
        self.scopes.pop()

    visit_AsyncFunctionDef = visit_FunctionDef
    visit_Lambda = visit_FunctionDef


# ---------------------------------------------------------------------- Python 2: the text

_PIECE = re.compile(
    r"#[^\n]*"
    r"|(?P<prefix>[rRuUbBfF]{0,2})(?P<string>\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''"
    r"|\"(?:\\.|[^\\\"\n])*\"|'(?:\\.|[^\\'\n])*')",
    re.S,
)
_WORD = r"(?<![\w.])"
_BEGIN = r"(?:^|[:;])[ \t]*"
_OLD_SYNTAX = [
    (
        "a print statement",
        rf"{_WORD}print[ \t]*(?:>>|[ \t](?!(?:if|and|or|in|is|not|else|for)\b)[\w'])",
    ),
    ("`except X, e`", r"\bexcept\s*(?:\([^()]*\)|[\w.]+)\s*,[^:\n]+:"),
    ("`raise X, value`", rf"{_BEGIN}raise[ \t]+[\w.\[\]]+[ \t]*,"),
    ("async or await as a name", r"\.(?:async|await)\b|\b(?:async|await)[ \t]*[=,)]"),
    ("an exec statement", rf"{_BEGIN}exec[ \t]+[\w']"),
    ("backticks", r"`"),
    ("the operator <>", r"<>"),
    ("a long integer such as 10L", rf"{_WORD}(?:0[xX][0-9a-fA-F]+|[0-9]+)[lL]\b"),
    ("an octal number such as 0777", rf"{_WORD}0[0-9]*[1-9][0-9]*(?![\w.])"),
    ("a string with the prefix ur", rf"{_WORD}[uU][rR]'"),
    (
        "a tuple among the parameters",
        r"\bdef\s+\w+\s*\((?:[^()]*,)?\s*\(|\blambda\s+\([^()]*\)\s*:",
    ),
]
_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+(?P<module>[\w.]+)[ \t]+import[ \t]+(?P<names>\([^)]*\)|[^\n;#]+)"
    r"|import[ \t]+(?P<modules>[^\n;#]+))",
    re.M,
)
_CHAIN = re.compile(rf"{_WORD}([A-Za-z_]\w*)\.([A-Za-z_]\w*)(\s*\(\s*(?P<argument>[^\s)])?)?")


def _masked(text: str) -> str:
    """Return the text with comments and contents of strings replaced; positions stay the same."""

    def blank(match: re.Match[str]) -> str:
        filler = " " if match["string"] is None else "'"
        body = match[0][len(match["prefix"] or "") :]
        return (match["prefix"] or "") + re.sub(r"[^\n]", filler, body)

    return _PIECE.sub(blank, text)


def _read_text(text: str, error: BaseException) -> Reading:
    masked = _masked(text)

    def place(position: int) -> tuple[int, int]:
        line = masked.count("\n", 0, position) + 1
        return line, position - masked.rfind("\n", 0, position)

    reading = Reading()
    old = sorted(
        (*place(match.end() - 1 if what == "backticks" else _start(match)), what)
        for what, pattern in _OLD_SYNTAX
        for match in re.finditer(pattern, masked, re.M)
    )
    if old:
        reading.python2, reading.python2_count = old[0], len(old)
    elif isinstance(error, SyntaxError) and error.msg.startswith("(unicode error)"):
        what = "a string in which Python 3 sees escapes such as \\N or \\u"
        reading.python2, reading.python2_count = (error.lineno or 1, 1, what), 1
    elif isinstance(error, TabError):
        reading.python2, reading.python2_count = (error.lineno or 1, 1, "mixed tabs and spaces"), 1
    elif isinstance(error, SyntaxError):
        reading.broken = (error.lineno or 1, max(error.offset or 1, 1), error.msg)
    else:
        reading.broken = (1, 1, f"{type(error).__name__}: {error}")

    modules: dict[str, str] = {}
    names: dict[str, str] = {}
    found: list[Use] = []
    for match in _IMPORT.finditer(masked):
        line, column = place(_start(match))
        module = match["module"]
        for name, shown in _aliases(match["names"] or match["modules"]):
            top, _, rest = (module or name).partition(".")
            reading.stackless |= top in FAMILY
            if module is None:
                modules[shown if shown != name else top] = name if shown != name else top
            else:
                names[shown] = f"{module}.{name}"
            if top == "stackless":
                used = rest.partition(".")[0] or (name if module else "")
                if used and used not in ("*", "stackless"):
                    found.append(Use("module", used, line, column))
                if module == name == "stackless":
                    modules[shown] = "stackless"
            else:
                found.append(Use("import", top, line, column))
    for match in _CHAIN.finditer(masked):
        base, name = modules.get(match[1]), match[2]
        line, column = place(match.start(2))
        if base == "stackless":
            found.append(Use("module", name, line, column))
            if name == "run" and match["argument"]:
                found.append(Use("call", "run(timeout)", line, column))
        elif base:
            found.append(Use("import", f"{base}.{name}", line, column))
        else:
            found.append(Use("attribute", name, line, column))
    for match in re.finditer(r"\.bind[ \t]*\([ \t]*None[ \t]*\)", masked):
        found.append(Use("call", "bind(None)", *place(match.start() + 1)))
    for match in re.finditer(r"'([^'\n]*)'|\"([^\"\n]*)\"", text):
        after = masked[match.end() : match.end() + 20]
        if "stackless" in match[0].lower() and re.match(r"\s*(?:not\s+)?in\s+sys\.version", after):
            found.append(Use("call", "sys.version", *place(match.start())))
            reading.stackless = True
    reading.uses = sorted(set(found), key=lambda use: (use.line, use.column))
    return reading


def _start(match: re.Match[str]) -> int:
    """Return the position of the first word of a match."""
    return match.start() + len(match[0]) - len(match[0].lstrip(" \t:;\n"))


def _aliases(names: str) -> list[tuple[str, str]]:
    """Return [(name, name in this file)] for the list of names in an import statement."""
    pairs = []
    for item in names.strip("() \t\n").replace("\\", " ").split(","):
        words = item.split()
        if words:
            pairs.append((words[0], words[2] if len(words) == 3 else words[0]))
    return pairs
