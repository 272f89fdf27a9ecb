"""tools/check-layers accepts the source tree, and refuses each kind of violation."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools" / "check-layers"
SOURCE = Path("crates/stackless/src")

pytestmark = pytest.mark.skipif(not TOOL.exists(), reason="no source tree")


def check(tree: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, TOOL, tree], capture_output=True, text=True, timeout=60)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for crate in ("stackless", "core"):
        source = Path("crates", crate, "src")
        shutil.copytree(ROOT / source, tmp_path / source)
    assert check(tmp_path).returncode == 0
    return tmp_path


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)


def test_the_tree_is_in_order() -> None:
    done = check(ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "use",
    [
        "use crate::observe::counts;",
        "use crate::{model::world, observe::counts::{self, age}};",
        "use super::super::observe::counts::age as how_old;",
        "fn f() -> u64 { crate::observe::counts::time() }",
        "fn f() -> u64 { super::super::observe::counts::time() }",
    ],
)
def test_a_layer_may_not_use_one_above(tree: Path, use: str) -> None:
    append(tree / SOURCE / "engine" / "switch.rs", use + "\n")
    done = check(tree)
    assert done.returncode == 1
    assert "engine/switch.rs uses observe/counts.rs: engine/ may not use observe/" in done.stderr


def test_only_api_may_use_sockets(tree: Path) -> None:
    append(tree / SOURCE / "types" / "channel.rs", "use crate::sockets::calls::make;\n")
    done = check(tree)
    assert done.returncode == 1
    assert "types/ may not use sockets/" in done.stderr


def test_a_folder_is_not_imported_as_a_whole(tree: Path) -> None:
    append(tree / SOURCE / "engine" / "switch.rs", "use crate::scheduler;\n")
    done = check(tree)
    assert done.returncode == 1
    assert "engine/switch.rs uses lib.rs" in done.stderr


def test_a_folder_has_no_code_of_its_own(tree: Path) -> None:
    append(tree / SOURCE / "engine" / "mod.rs", "pub use crate::observe::counts;\n")
    done = check(tree)
    assert done.returncode == 1
    assert "engine/mod.rs has more than comments" in done.stderr


@pytest.mark.parametrize(
    ("crate", "file", "use"),
    [
        ("stackless", "model/seat.rs", "use crate::model::tasklet::Tasklet;"),
        ("stackless", "model/seat.rs", "use super::tasklet::Tasklet;"),
        ("core", "records.rs", "use crate::ring;"),
    ],
)
def test_a_circle(tree: Path, crate: str, file: str, use: str) -> None:
    append(tree / "crates" / crate / "src" / file, use + "\n")
    done = check(tree)
    assert done.returncode == 1
    assert "a circle is among" in done.stderr and file[:-3] in done.stderr


def test_comments_and_strings_are_no_code(tree: Path) -> None:
    text = '// use crate::observe::counts;\nconst S: &str = "crate::observe::counts";\n'
    append(tree / SOURCE / "engine" / "switch.rs", text)
    assert check(tree).returncode == 0


def test_a_file_is_too_long(tree: Path) -> None:
    file = tree / "tests" / "test_long.py"
    file.parent.mkdir()
    file.write_text("\n" * 600)
    assert check(tree).returncode == 0
    file.write_text("\n" * 601)
    done = check(tree)
    assert done.returncode == 1
    assert "tests/test_long.py has 601 lines; the maximum is 600" in done.stderr
