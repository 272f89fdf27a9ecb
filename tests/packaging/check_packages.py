"""Checks the packages. `make test-packages` runs this; pytest does not collect it.

Builds the sdist and a wheel, installs each into a new environment outside the source tree, and runs
a small program there. Also checks that the stubs are inside, and that a package without its
compiled part says what to do.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

SMOKE = """
import stackless

# The package must be the installed one.
assert {prefix!r} in stackless.__file__, stackless.__file__

got = []
def receiver(ch):
    for x in ch:
        got.append(x)

def sender(ch):
    ch.send("one")
    ch.send_sequence([2, 3])
    ch.send_exception(StopIteration)

ch = stackless.channel()
stackless.tasklet(receiver)(ch)
stackless.tasklet(sender)(ch)
stackless.run()
assert got == ["one", 2, 3], got

def call(f, *args):
    result = stackless.channel()
    stackless.tasklet(lambda: result.send(f(*args)))()
    return result.receive()

def factorial(n):
    return 1 if n <= 1 else n * call(factorial, n - 1)

import math
assert factorial(2000) == math.factorial(2000)
stackless.run()
assert stackless.getruncount() == 1
print("smoke test passed")
"""

WITHOUT_COMPILED_PART = """
try:
    import stackless
except ImportError as err:
    print(err)
else:
    raise SystemExit("importing a package without its compiled module succeeded")
"""


def say(text: str) -> None:
    print(f"== {text}", flush=True)


def sh(*command: object, cwd: Path, **env: str) -> str:
    """Run a command; its output is shown only when it fails."""
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**clean, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
        raise SystemExit(f"failed ({done.returncode}): {' '.join(map(str, command))}")
    return done.stdout


def expect(names: list[str], *wanted: str) -> None:
    for end in wanted:
        if not any(name.endswith(end) for name in names):
            raise SystemExit(f"{end} is missing in the package; it has: {', '.join(names)}")


def environment(where: Path) -> Path:
    """The Python of a new, empty environment."""
    # The base interpreter, so that the current environment has no influence on the new one.
    base = getattr(sys, "_base_executable", None) or sys.executable
    if shutil.which("uv"):
        sh("uv", "venv", "-q", "--seed", "--python", base, where, cwd=where.parent)
    else:
        venv.create(where, with_pip=True)
    return where / "bin" / "python"


def only(paths: list[Path]) -> Path:
    assert len(paths) == 1, paths
    return paths[0]


def try_out(package: Path, where: Path, **env: str) -> Path:
    """Install the package into a new environment and run the smoke test in it."""
    where.mkdir()
    python = environment(where / "env")
    sh(python, "-m", "pip", "install", "-q", package, cwd=where, **env)
    program = where / "smoke.py"
    program.write_text(SMOKE.format(prefix=str(where)))
    print(sh(python, "-W", "error", program, cwd=where), end="")
    return python


def main() -> None:
    tag = f"{sys.version_info.major}.{sys.version_info.minor}"
    # Its own target directory leaves the builds of `make test` as they are.
    env = {
        "CARGO_TARGET_DIR": str(ROOT / "target" / f"packages{tag}"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    with tempfile.TemporaryDirectory(prefix="stackless-packages-") as name:
        tmp = Path(name)

        say("pip wheel .")
        sh(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp, ROOT, cwd=tmp, **env)
        wheel = only(list(tmp.glob("*.whl")))
        with zipfile.ZipFile(wheel) as z:
            names = z.namelist()
        expect(names, "stackless/__init__.py", "stackless/__init__.pyi", "stackless/py.typed")
        expect(names, "stackless/monkey/__main__.py", "stackless/_io/files.py")
        expect(names, "stackless/_record/viewer/page.html", "stackless/_record/viewer/model.js")
        expect(names, ".so", "LICENSE-MIT", "LICENSE-APACHE")
        if sum(n.endswith(".so") for n in names) != 1:
            raise SystemExit("the wheel has compiled modules of other Pythons: " + ", ".join(names))
        print(f"{wheel.name}: {wheel.stat().st_size // 1024} KiB")
        python = try_out(wheel, tmp / "from-wheel", **env)

        say("a package without its compiled module")
        where = sh(python, "-c", "import stackless; print(stackless.__file__)", cwd=tmp).strip()
        bare = tmp / "bare"
        shutil.copytree(
            Path(where).parent, bare / "stackless", ignore=shutil.ignore_patterns("*.so", "*.pyc")
        )
        text = sh(
            python,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(bare)!r})\n" + WITHOUT_COMPILED_PART,
            cwd=tmp,
        ).strip()
        print(text)
        if "pip install" not in text and "make " not in text:
            raise SystemExit("the ImportError does not say what to do")

        say("sdist")
        sh(Path(sys.executable).parent / "maturin", "sdist", "-o", tmp, cwd=ROOT)
        sdist = only(list(tmp.glob("*.tar.gz")))
        with tarfile.open(sdist) as t:
            names = t.getnames()
        expect(names, "/Cargo.toml", "/Cargo.lock", "/pyproject.toml", "/README.md")
        expect(names, "/LICENSE-MIT", "/LICENSE-APACHE", "stackless/__init__.pyi")
        print(f"{sdist.name}: {sdist.stat().st_size // 1024} KiB, {len(names)} files")
        try_out(sdist, tmp / "from-sdist", **env)

    say("packages are whole")


if __name__ == "__main__":
    main()
