"""The reference of every public name, from docstrings and stubs: a page for each public module.

A signature is what the stub says (or the source, where a module has no stub); the text is the
docstring that `help()` shows. So a new module, or a new name in an `__all__`, appears by itself.
`tools/site/pages.py` calls this.
"""

import ast
import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import stackless

PACKAGE = Path(stackless.__file__).parent
FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)


def public_modules() -> list[str]:
    """The names of the public modules: those without an underscore, in the package itself."""
    found = {
        path.stem
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and path.name[0] != "_"
    }
    return ["stackless", *(f"stackless.{name}" for name in sorted(found))]


# ------------------------------------------------------------------ what stubs and sources declare


class Place(NamedTuple):
    """A file that declares something, and the declarations themselves (overloads are several)."""

    file: Path
    nodes: list[ast.stmt]


def file_of(module: str) -> Path | None:
    """The stub of a module of this package, or else its source."""
    parts = module.split(".")
    if parts[0] != "stackless":
        return None
    base = PACKAGE.joinpath(*parts[1:])
    for path in (
        base / "__init__.pyi",
        base.with_suffix(".pyi"),
        base / "__init__.py",
        base.with_suffix(".py"),
    ):
        if path.exists():
            return path
    return None


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """All statements of a body; of `if` and `try`, those of each branch."""
    for node in body:
        yield node
        if isinstance(node, (ast.If, ast.Try)):
            yield from statements(node.body + node.orelse)


def bound(node: ast.stmt) -> list[str]:
    if isinstance(node, (*FUNCTION, ast.ClassDef)):
        return [node.name]
    if isinstance(node, ast.AnnAssign):
        return [ast.unparse(node.target)]
    if isinstance(node, ast.Assign):
        return [ast.unparse(target) for target in node.targets]
    return []


TREES: dict[Path, ast.Module] = {}


def find(file: Path | None, name: str, depth: int = 0) -> Place | None:
    """Where a name that this file has is declared: here, or in a file that it imports it from."""
    if file is None or depth > 9:
        return None
    if file not in TREES:
        TREES[file] = ast.parse(file.read_text("utf-8"))
    here = [node for node in statements(TREES[file].body) if name in bound(node)]
    if len(here) == 1 and isinstance(here[0], (ast.Assign, ast.AnnAssign)):
        # `name = other`: what it is another name of.
        other = here[0].value
        if isinstance(other, ast.Name) and other.id != name:
            return find(file, other.id, depth + 1) or Place(file, here)
    if here:
        return Place(file, here)
    for node in statements(TREES[file].body):
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if (alias.asname or alias.name) == name:
                    return find(file_of(node.module or ""), alias.name, depth + 1)
    return None


def signature(name: str, node: ast.FunctionDef | ast.AsyncFunctionDef, method: bool) -> str:
    """`name(arguments) -> result`, in one line, or in several if that is long."""
    parts = arguments_of(node.args)
    if method and not decorated(node, "staticmethod"):
        del parts[0]
        if parts and parts[0] == "/":
            del parts[0]
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    start = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    line = f"{start}{name}({', '.join(parts)}){result}"
    if len(line) <= 88:
        return line
    body = "".join(f"    {each},\n" for each in parts)
    return f"{start}{name}(\n{body}){result}"


def arguments_of(declared: ast.arguments) -> list[str]:
    """Each argument as it is written, with "/" and "*" between them."""

    def written(one: ast.arg, default: ast.expr | None) -> str:
        text = one.arg + (f": {ast.unparse(one.annotation)}" if one.annotation else "")
        equals = " = " if one.annotation else "="
        return text + (equals + ast.unparse(default) if default else "")

    ordered = [*declared.posonlyargs, *declared.args]
    defaults = [None] * (len(ordered) - len(declared.defaults)) + declared.defaults
    parts = [written(one, default) for one, default in zip(ordered, defaults, strict=True)]
    if declared.posonlyargs:
        parts.insert(len(declared.posonlyargs), "/")
    if declared.vararg:
        parts.append("*" + written(declared.vararg, None))
    elif declared.kwonlyargs:
        parts.append("*")
    pairs = zip(declared.kwonlyargs, declared.kw_defaults, strict=True)
    parts += [written(one, default) for one, default in pairs]
    return parts + (["**" + written(declared.kwarg, None)] if declared.kwarg else [])


def decorated(node: ast.stmt, *names: str) -> bool:
    listed = [ast.unparse(each).rpartition(".")[2] for each in getattr(node, "decorator_list", ())]
    return any(name in listed for name in names)


# ------------------------------------------------------------------ docstrings as Markdown


def escaped(text: str) -> str:
    return re.sub(r"([*_<>\[\]|])", r"\\\1", text)


def markdown(text: str, links: dict[str, str]) -> str:
    """A docstring as Markdown: what is in backticks or indented stays, the rest is plain text."""

    def span(match: re.Match[str]) -> str:
        code = match[1].strip("`")
        target = links.get(code.partition("(")[0])
        return f"[`{code}`]({target})" if target else f"`{code}`"

    lines = []
    for line in inspect.cleandoc(text).splitlines():
        if line.startswith("    "):
            lines.append(line)
            continue
        bullet = re.match(r"\s*[*-] ", line)
        start = bullet[0] if bullet else ""
        if bullet and lines and lines[-1].strip() and not re.match(r"\s*[*-] |  ", lines[-1]):
            lines.append("")
        parts = re.split(r"(`+[^`]+`+)", line[len(start) :])
        whole = "".join(
            re.sub(r"(`+[^`]+`+)", span, part) if part.startswith("`") else escaped(part)
            for part in parts
        )
        # "(Reference, section 5.)"
        whole = re.sub(
            r"Reference, section ([0-9.]*[0-9])", r"[Reference](../reference.md), section \1", whole
        )
        lines.append(start + whole)
    return "\n".join(lines) + "\n"


def first_sentence(text: str | None) -> str:
    paragraph = " ".join(inspect.cleandoc(text or "").partition("\n\n")[0].split())
    sentence = re.match(r".*?\.(?= |$)", paragraph)
    return sentence[0] if sentence else paragraph


# ------------------------------------------------------------------ pages


def ours(value: object) -> bool:
    """True if the object is defined by this package."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == "stackless"


def kind(value: object) -> str:
    if isinstance(value, type):
        return "Exceptions" if issubclass(value, BaseException) else "Classes"
    return "Functions" if inspect.isroutine(value) else "Values"


def names_of(module: ModuleType) -> list[str]:
    """`__all__`, and for the package itself what dir() has besides, such as `current`."""
    names = set(module.__all__)
    if module is stackless:
        names |= {name for name in dir(module) if not isinstance(getattr(module, name), ModuleType)}
    return sorted(names, key=lambda name: (name.lower(), name))


class Page:
    """The page of one module."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.module = importlib.import_module(name)
        self.file = file_of(name)
        self.names = names_of(self.module)
        self.links: dict[str, str] = {}
        for each in self.names:
            for spelling in (each, f"{name}.{each}"):
                self.links[spelling] = f"#{name}.{each}"

    def text(self) -> str:
        lines = [f"# {self.name}\n", markdown(self.module.__doc__ or "", self.links)]
        own = [name for name in self.names if not self.elsewhere(name)]
        for title in ("Functions", "Classes", "Exceptions", "Values"):
            listed = [name for name in own if kind(getattr(self.module, name)) == title]
            if listed:
                lines += [f"## {title}\n", "| | |", "|---|---|"]
                for name in listed:
                    value = getattr(self.module, name)
                    first = self.summary(name, value).replace("|", r"\|")
                    lines.append(f"| [`{name}`](#{self.name}.{name}) | {first} |")
                lines.append("")
                for name in listed:
                    lines.append(self.entry(name, getattr(self.module, name)))
        lines += self.others()
        lines += self.submodules()
        return "\n".join(lines)

    def summary(self, name: str, value: object) -> str:
        if kind(value) == "Values":
            computed = getattr(type(self.module), name, None)
            if isinstance(computed, property):
                return markdown(first_sentence(computed.__doc__), self.links).strip()
            return f"`{value!r}`" if isinstance(value, (int, str)) else type(value).__name__
        return markdown(first_sentence(value.__doc__), self.links).strip()

    def elsewhere(self, name: str) -> str:
        """The module in which a name is described instead of here, or nothing."""
        value = getattr(self.module, name)
        if isinstance(value, (int, str, float)) and not isinstance(value, enum.Enum):
            same = self.module is not stackless and hasattr(stackless, name)
            return "stackless" if same else "" if find(self.file, name) else self.stock(name)
        home = getattr(value, "__module__", None) or ""
        if ours(value) or isinstance(value, ModuleType):
            if isinstance(value, ModuleType):
                home = value.__name__ if value.__name__ in public_modules() else ""
            return home if home in public_modules() and home != self.name else ""
        return self.stock(name)

    def stock(self, name: str) -> str:
        """The module of the standard library that this one stands for, if it has the name."""
        twin = self.name.rpartition(".")[2]
        try:
            return twin if hasattr(importlib.import_module(twin), name) else ""
        except ImportError:
            return ""

    def entry(self, name: str, value: object) -> str:
        anchor = f"{self.name}.{name}"
        place = find(self.file, name)
        # Underscores at both ends would be emphasis inside the braces.
        place_of = f'<span id="{anchor}"></span>\n\n### {escaped(name)}\n' if "__" in name else None
        lines = [place_of or f"### {escaped(name)} {{ #{anchor} }}\n"]
        if isinstance(value, type):
            lines.append(self.class_signature(name, value, place))
        elif place and any(isinstance(node, FUNCTION) for node in place.nodes):
            found = [
                signature(name, node, False) for node in place.nodes if isinstance(node, FUNCTION)
            ]
            lines.append(fenced(found))
        elif inspect.isroutine(value):
            lines.append(fenced([name + runtime_signature(value)]))
        elif place and isinstance(place.nodes[0], ast.AnnAssign):
            lines.append(fenced([f"{name}: {ast.unparse(place.nodes[0].annotation)}"]))
        else:
            lines.append(fenced([f"{name} = {value!r}" if isinstance(value, (int, str)) else name]))
        computed = getattr(type(self.module), name, None)
        if kind(value) != "Values" or isinstance(computed, property):
            described = computed if isinstance(computed, property) else value
            lines.append(markdown(described.__doc__ or "", self.links))
        if isinstance(value, type):
            lines += self.members(name, value, place)
        return "\n".join(lines)

    def class_signature(self, name: str, value: type, place: Place | None) -> str:
        found = []
        node = place.nodes[0] if place else None
        if isinstance(node, ast.ClassDef):
            for wanted in ("__init__", "__new__"):
                makers = [
                    one for one in node.body if isinstance(one, FUNCTION) and one.name == wanted
                ]
                overloads = [one for one in makers if decorated(one, "overload")]
                for maker in overloads or makers:
                    found.append(
                        signature(name, maker, True)
                        .replace(") -> None", ")")
                        .replace(") -> Self", ")")
                    )
                if found:
                    break
        # A private base has the names of its own bases, and adds members that are listed here.
        nearest = [
            base for base in value.__mro__[1:] if base.__name__[0] != "_" and base is not object
        ]
        bases = [
            f"{base.__module__}.{base.__name__}" if base.__name__ == name else base.__name__
            for base in nearest
            if not any(other is not base and issubclass(other, base) for other in nearest)
        ]
        head = f"class {name}({', '.join(bases)})" if bases else f"class {name}"
        return fenced([head, *found])

    def members(self, name: str, value: type, place: Place | None) -> list[str]:
        found: dict[str, str] = {}
        for klass in value.__mro__:
            if not ours(klass) or (klass is not value and public(klass)):
                continue
            where = (
                place
                if klass is value
                else find(place.file if place else self.file, klass.__name__)
            )
            declared: dict[str, list[ast.stmt]] = {}
            for one in (
                where.nodes[0].body if where and isinstance(where.nodes[0], ast.ClassDef) else ()
            ):
                for bare in bound(one):
                    declared.setdefault(bare, []).append(one)
            for member in {**declared, **vars(klass)}:
                if member[0] != "_" and member not in found:
                    found[member] = self.member(name, value, member, declared.get(member, []))
        lines = [found[member] for member in sorted(found)]
        above = [klass for klass in value.__mro__[1:] if ours(klass) and public(klass)]
        for klass in above:
            names = [each for each in sorted(vars(klass)) if each[0] != "_" and each not in found]
            if names:
                found.update(dict.fromkeys(names, ""))
                target = f"{klass.__module__}.md" if klass.__module__ != self.name else ""
                shown = ", ".join(f"`{each}`" for each in names)
                anchor = f"#{klass.__module__}.{klass.__name__}"
                lines.append(f"From [`{klass.__name__}`]({target}{anchor}): {shown}.\n")
        return lines

    def member(self, name: str, value: type, member: str, nodes: list[ast.stmt]) -> str:
        anchor = f"{self.name}.{name}.{member}"
        lines = [f"#### {escaped(f'{name}.{member}')} {{ #{anchor} }}\n"]
        thing = inspect.getattr_static(value, member, None)
        functions = [node for node in nodes if isinstance(node, FUNCTION)]
        overloads = [node for node in functions if decorated(node, "overload")] or functions
        if functions and decorated(functions[0], "property", "cached_property"):
            result = f": {ast.unparse(functions[0].returns)}" if functions[0].returns else ""
            lines.append(fenced([f"{member}{result}"]))
        elif overloads:
            lines.append(fenced([signature(member, node, True) for node in overloads]))
        elif nodes and isinstance(nodes[0], ast.AnnAssign):
            lines.append(fenced([f"{member}: {ast.unparse(nodes[0].annotation)}"]))
        elif callable(getattr(value, member, None)):
            lines.append(fenced([member + runtime_signature(getattr(value, member))]))
        else:
            lines.append(fenced([member]))
        if not isinstance(thing, (int, str, float, type(None))):
            text = getattr(thing, "__doc__", None)
            lines.append(markdown(text or "", self.links))
        return "\n".join(lines)

    def others(self) -> list[str]:
        """Names that other modules describe, each with an anchor of its own."""
        homes: dict[str, list[str]] = {}
        for name in self.names:
            home = self.elsewhere(name)
            if home:
                homes.setdefault(home, []).append(name)
        lines = []
        for home, names in sorted(homes.items()):
            if home.startswith("stackless"):
                lines.append(f"## As in {home}\n")
                shown = []
                for each in names:
                    value = getattr(self.module, each)
                    inside = (
                        ""
                        if isinstance(value, ModuleType)
                        else f"#{home}.{getattr(value, '__name__', each)}"
                    )
                    shown.append(
                        f'<span id="{self.name}.{each}"></span>[`{each}`]({home}.md{inside})'
                    )
            else:
                lines.append(f"## As in the standard library's {home}\n")
                shown = [f'<code id="{self.name}.{each}">{each}</code>' for each in names]
            lines.append(", ".join(shown) + "\n")
        return lines

    def submodules(self) -> list[str]:
        """Of a package that has no names itself, what its modules are for."""
        if self.names:
            return []
        lines = []
        for path in sorted(Path(self.module.__file__ or "").parent.glob("[a-z]*.py")):
            text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
            name = f"{self.name}.{path.stem}"
            lines += [f"## {name} {{ #{name} }}\n", markdown(text, self.links)]
        return lines


def public(klass: type) -> bool:
    module = importlib.import_module(klass.__module__)
    return klass.__module__ in public_modules() and klass.__name__ in names_of(module)


def runtime_signature(value: object) -> str:
    try:
        return str(inspect.signature(value))  # type: ignore[arg-type]
    except (ValueError, TypeError):
        return "(...)"


def fenced(lines: list[str]) -> str:
    """Code, without the names of private modules: `_stackless.tasklet` is `tasklet`."""
    return "```py\n" + re.sub(r"\b_[a-z]+\.(?=\w)", "", "\n".join(lines)) + "\n```\n"


def write(folder: Path) -> list[str]:
    """Write the page of each public module, and one that lists them. Return the files' names."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        "# Modules\n",
        "Every public name, with its signature and its docstring.\n",
        "| | |",
        "|---|---|",
    ]
    for name in public_modules():
        page = Page(name)
        (folder / f"{name}.md").write_text(page.text(), "utf-8")
        first = markdown(first_sentence(page.module.__doc__), {}).strip().replace("|", r"\|")
        lines.append(f"| [`{name}`]({name}.md) | {first} |")
    lines.append("")
    (folder / "index.md").write_text("\n".join(lines) + "\n", "utf-8")
    return ["index.md", *(f"{name}.md" for name in public_modules())]
