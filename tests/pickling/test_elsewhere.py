"""Objects of `__main__` that `dumps` accepts load in another process; the others are refused."""

import subprocess
import sys

import pytest
from child_process import TIME_LIMIT, assert_child

BEFORE = """
import abc, collections, contextlib, contextvars, dataclasses, enum, functools, logging, operator
import re, sys, threading, types, typing, weakref
import stackless

"""

AFTER = """

def task():
    stackless.schedule_remove()
    {then}
    print("done")

t = stackless.tasklet(task)()
stackless.run()
why = stackless.why_not_picklable(t)
try:
    blob = stackless.dumps(t)
except Exception as error:
    sys.exit(f"refused {{[str(each) for each in why]}}")
assert why == []
assert stackless.why_not_picklable(t) == []
sys.stdout.buffer.write(blob)
"""

THERE = """
import sys, stackless
t = stackless.loads(sys.stdin.buffer.read())
t.insert()
stackless.run()
"""

#: Definitions, and what a tasklet of another process does with them.
TRAVELS = {
    "lru_cache": (
        "@functools.lru_cache(maxsize=7)\ndef f(n): return n + 1\nf(5); f.mark = 3",
        "assert f(1) == 2 and f.mark == 3 and f.cache_parameters()['maxsize'] == 7\n"
        "    assert f.__name__ == 'f' and f.__module__ == '__main__'\n"
        "    assert f.cache_info().currsize == 1",
    ),
    "cache that calls itself": (
        "@functools.cache\ndef f(n): return n and f(n - 1) + 1",
        "assert f(9) == 9 and f.cache_info().currsize == 10\n"
        "    assert f.__wrapped__.__globals__['f'] is f",
    ),
    "cached method": (
        "class C:\n  @functools.lru_cache\n  def m(self, n): return n + 2\n"
        "  @staticmethod\n  @functools.cache\n  def s(n): return n\nc = C(); cached = C.s",
        "assert c.m(1) == 3 and C.s(4) == 4 and cached is C.s",
    ),
    "cached property": (
        "class C:\n  @functools.cached_property\n  def p(self): return [7]",
        "c = C()\n    assert c.p is c.p and c.p == [7]",
    ),
    "partial of a cache": (
        "@functools.cache\ndef f(n): return n\np = functools.partial(f, 3)",
        "assert p() == 3",
    ),
    "partialmethod": (
        "class C:\n  m = functools.partialmethod(lambda self, x: x, 5)",
        "assert C().m() == 5",
    ),
    "NewType": (
        "UserId = typing.NewType('UserId', int)",
        "assert UserId(3) == 3 and UserId.__supertype__ is int and UserId.__module__ == '__main__'",
    ),
    "TypeVar": ("T = typing.TypeVar('T', bound=int)", "assert T.__bound__ is int"),
    "ParamSpec": (
        "P = typing.ParamSpec('P')\nR = typing.TypeVar('R')\n"
        "def deco(f: typing.Callable[P, R]) -> typing.Callable[P, R]:\n"
        "  def w(*a: P.args, **k: P.kwargs) -> R: return f(*a, **k)\n  return w\n"
        "@deco\ndef f(n: int): return n",
        "assert f(2) == 2 and P.__name__ == 'P' and P.args.__origin__ is P and deco(f)(3) == 3",
    ),
    "TypeVarTuple": (
        "Ts = typing.TypeVarTuple('Ts')\nclass G(typing.Generic[typing.Unpack[Ts]]): pass",
        "assert Ts.__name__ == 'Ts' and G.__parameters__ == (Ts,)",
    ),
    "Enum": (
        "class Color(enum.Enum):\n  RED = 1\n"
        "class F(enum.IntFlag):\n  A = 1; B = 2\nred = Color.RED",
        "assert red is Color.RED is Color(1) and F.A | F.B == F(3)",
    ),
    "namedtuple": (
        "N = collections.namedtuple('N', 'a b', defaults=[2])\n"
        "class M(typing.NamedTuple):\n  x: int = 3\nn = N(1)",
        "assert n == N(1, 2) and M().x == 3",
    ),
    "dataclass": (
        "@dataclasses.dataclass\nclass D:\n  a: int = 1\n"
        "  b: list = dataclasses.field(default_factory=list)\n"
        "@dataclasses.dataclass(frozen=True, slots=True)\nclass S:\n  a: int = 1\nd = D()",
        "assert d == D() and S().a == 1 and dataclasses.replace(d, a=2).a == 2",
    ),
    "Protocol": (
        "@typing.runtime_checkable\nclass P(typing.Protocol):\n  def m(self): ...\n"
        "class C:\n  def m(self): pass",
        "assert isinstance(C(), P) and not isinstance(3, P)",
    ),
    "abc": (
        "class A(abc.ABC):\n  @abc.abstractmethod\n  def f(self): ...\n"
        "class C(A):\n  def f(self): return 8\n"
        "A.register(str)",
        "assert C().f() == 8 and isinstance('', A)\n"
        "    try: A()\n    except TypeError: pass\n    else: assert 0",
    ),
    "generic": (
        "T = typing.TypeVar('T')\nclass G(typing.Generic[T]): pass\nL = list[T]\nU = int | str",
        "assert G[int].__args__ == (int,) and L[int] == list[int] and U == int | str",
    ),
    "metaclass": (
        "class Meta(type):\n  def __call__(cls, *a): return super().__call__(*a), 1\n"
        "class C(metaclass=Meta): pass",
        "assert C()[1] == 1 and type(C) is Meta",
    ),
    "descriptors": (
        "class D:\n  def __get__(self, o, t=None): return 5\n"
        "class C:\n  d = D()\n  p = property(lambda self: 4)\n  __slots__ = ('a',)",
        "assert C().d == 5 and C().p == 4",
    ),
    "object": (
        "MISSING = object()\ndef f(a=MISSING): return a is MISSING",
        "assert f() and not f(3) and f(MISSING)",
    ),
    "context manager": (
        "@contextlib.contextmanager\ndef manager(): yield 3",
        "with manager() as three: assert three == 3",
    ),
    "logger and pattern": (
        "log = logging.getLogger('x'); pattern = re.compile('a'); item = operator.itemgetter(0)",
        "assert log is logging.getLogger('x') and pattern.match('a') and item('ab') == 'a'",
    ),
    "module made by hand": (
        "m = types.ModuleType('made'); sys.modules['made'] = m\n"
        "exec('def f(): return C\\nclass C: pass', m.__dict__)\nC = m.C; f = m.f",
        "assert f() is C and C.__module__ == 'made'",
    ),
    "cache in no module": (
        "def make():\n  @functools.cache\n  def inner(n): return n\n  return inner\nf = make()",
        "assert f(2) == 2",
    ),
    "cache of a library's function": (
        "f = functools.cache(re.compile)",
        "assert f('a') is f('a')",
    ),
    "globals of importable modules": (
        "any_ = typing.Any; f = functools.reduce; n = typing.NamedTuple; e = re.I; r = re.compile",
        "assert any_ is typing.Any and f is functools.reduce and e is re.I and r is re.compile",
    ),
}
if sys.version_info >= (3, 12):
    TRAVELS |= {
        "type alias": (
            "type A = list[int]\ntype B[X] = dict[X, A]",
            "assert A.__value__ == list[int] and A.__module__ == '__main__'\n"
            "    assert B[int].__args__ == (int,) and len(B.__type_params__) == 1",
        ),
        "type parameters": (
            "def f[X, **P, *Ts](a: X) -> X: return a\nclass C[X]: pass",
            "assert f(3) == 3 and C[int].__args__ == (int,)",
        ),
    }
if sys.version_info >= (3, 13):
    TRAVELS["default of a type parameter"] = (
        "P = typing.ParamSpec('P', default=[int])\n"
        "Ts = typing.TypeVarTuple('Ts', default=typing.Unpack[tuple[int]])",
        "assert P.__default__ == [int] and Ts.has_default()",
    )
if sys.version_info >= (3, 15):
    TRAVELS["sentinel"] = (
        "M = sentinel('M'); N = sentinel('N', repr='<n>')\ndef f(a=M): return a is M",
        "assert f() and repr(N) == '<n>' and M.__module__ == '__main__'",
    )

#: Definitions, the values that a tasklet has of them, and the text that the obstacle must contain.
REFUSED = {
    "named by its own reducer": (
        "class Missing:\n  def __reduce__(self): return 'MISSING'\nMISSING = Missing()",
        "MISSING",
        "__globals__['MISSING'] (__main__.Missing): cannot pickle 'Missing' object: it is pickled "
        "by its name, __main__.MISSING, and another process cannot import that",
    ),
    "ContextVar": ("var = contextvars.ContextVar('var')", "var", "__globals__['var']"),
    "lock": ("lock = threading.Lock()", "lock", "do not hold a lock while waiting"),
    "thread-local": ("local = threading.local()", "local", "__globals__['local']"),
    "weak reference": ("class C: pass\nref = weakref.ref(C)", "ref", "__globals__['ref']"),
    "singledispatch": ("@functools.singledispatch\ndef f(a): pass", "f", "__globals__['f']"),
}
if sys.version_info >= (3, 12):
    REFUSED["alias of itself"] = (
        "type Tree = list[Tree]",
        "Tree",
        "cannot pickle the type alias Tree: it refers to itself",
    )


def here(definitions, then):
    source = BEFORE + definitions + AFTER.format(then=then)
    return subprocess.run(
        [sys.executable, "-c", source], capture_output=True, timeout=TIME_LIMIT, check=False
    )


@pytest.mark.parametrize("name", TRAVELS)
def test_accepted(name):
    child = here(*TRAVELS[name])
    assert child.returncode == 0, child.stderr.decode()
    there = subprocess.run(
        [sys.executable, "-c", THERE],
        input=child.stdout,
        capture_output=True,
        timeout=TIME_LIMIT,
        check=False,
    )
    assert there.returncode == 0, there.stderr.decode()
    assert there.stdout.strip() == b"done"


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    definitions, used, says = REFUSED[name]
    child = here(definitions, used)
    assert child.returncode == 1
    text = child.stderr.decode().replace("\\'", "'")
    assert text.startswith("refused ['") or text.startswith('refused ["'), text
    assert says in text


def test_names_of_importable_modules_stay_names():
    assert_child(
        """
        import fnmatch, functools, stackless

        cached = type(functools.cache(len))
        known = next(each for each in vars(fnmatch).values() if isinstance(each, cached))
        assert stackless.loads(stackless.dumps(known)) is known
        """
    )
