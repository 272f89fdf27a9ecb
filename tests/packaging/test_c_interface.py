"""`tools/check-c-interface`, a part of `make lint`, notices when C and Rust drift apart."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "crates" / "cpython" / "src"


def check(directory):
    done = subprocess.run(
        [sys.executable, ROOT / "tools" / "check-c-interface", directory],
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stderr


@pytest.fixture
def sources(tmp_path):
    return shutil.copytree(SOURCES, tmp_path / "src")


def change(sources, name, old, new):
    text = (sources / name).read_text()
    assert text.count(old) == 1
    (sources / name).write_text(text.replace(old, new))


def test_the_tree_passes():
    assert check(SOURCES) == (0, "")


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        pytest.param(
            "exports.h",
            "void sl_forbid(int change)",
            "void sl_forbid(long change)",
            "fn sl_forbid: ",
            id="type",
        ),
        pytest.param(
            "exports.h",
            "void sl_forbid(int change)",
            "void sl_forbid(void)",
            "fn sl_forbid: ",
            id="number",
        ),
        pytest.param(
            "exports.h",
            "void sl_forbid(int change)",
            "int sl_forbid(int change)",
            "fn sl_forbid: ",
            id="result",
        ),
        pytest.param(
            "exports.h", "(const char *text,", "(char *text,", "fn sl_crash_write: ", id="const"
        ),
        pytest.param(
            "exports.h",
            "void sl_forbid(",
            "void sl_allow(",
            "fn sl_allow: only in exports.h",
            id="name",
        ),
        pytest.param(
            "exports.h",
            "void sl_forbid(int change);",
            "",
            "fn sl_forbid: only in Rust",
            id="missing",
        ),
        pytest.param(
            "exports.h",
            "extern char sl_iterating",
            "extern int sl_iterating",
            "static sl_iterating: ",
            id="static",
        ),
        pytest.param("exports.h", "    int gives_none;\n", "", "struct Pending: ", id="field"),
        pytest.param(
            "exports.h",
            "int (*settled)(void)",
            "void (*settled)(void)",
            "struct OnTicks: ",
            id="callback",
        ),
        pytest.param(
            "exports.h", "    SL_NOW, ", "    SL_SOON, ", "enum Answer: ", id="enumerator"
        ),
        pytest.param(
            "exports.h", "SL_STATE_SIZE 256", "SL_STATE_SIZE 264", "SL_STATE_SIZE", id="size"
        ),
        pytest.param(
            "thread.rs",
            "fn sl_forbid(change: c_int)",
            "fn sl_forbid(change: u64)",
            "fn sl_forbid: ",
            id="in Rust",
        ),
        pytest.param(
            "crash.c",
            '#include "exports.h"\n',
            "",
            "crash.c does not include exports.h",
            id="not included",
        ),
    ],
)
def test_a_drift_is_found(sources, name, old, new, said):
    change(sources, name, old, new)
    code, error = check(sources)
    assert code == 1
    assert said in error


def test_a_circle_of_c_files_is_found(sources):
    with (sources / "stack_depth.c").open("a") as file:
        file.write("void sl_upwards(void)\n{\n    sl_instruction(NULL);\n}\n")
    code, error = check(sources)
    assert code == 1
    assert "a circle of C files" in error
    assert "instruction" in error
    assert "stack_depth" in error
