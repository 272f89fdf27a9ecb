"""Interpreters that the compiled module does not fit."""

import shutil
import sys
from pathlib import Path

import pytest
import stackless
from child_process import assert_child

NAME = b"PyUnstable_ThreadState_SetStackProtection"


@pytest.mark.skipif(
    sys.version_info < (3, 14), reason="CPython guards its C stack by addresses from 3.14 on"
)
def test_early_3_14_is_refused_by_name(tmp_path):
    """A copy of the compiled module that needs another function, which no interpreter has."""
    source = Path(stackless.__file__).parent
    package = tmp_path / "stackless"
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    compiled = Path(stackless._stackless.__file__)
    image = compiled.read_bytes()
    missing = NAME[:-1] + b"X"
    assert b"\0" + NAME + b"\0" in image
    # Not at the beginning of the message, which has a word before it.
    (package / compiled.name).write_bytes(
        image.replace(b"\0" + NAME + b"\0", b"\0" + missing + b"\0")
    )
    assert_child(
        f"""
        import sys
        sys.path.insert(0, {str(tmp_path)!r})
        try:
            import stackless
        except ImportError as error:
            assert error.__cause__.__class__ is ImportError
            print(error)
        assert "stackless" not in sys.modules
        """,
        prints="stackless needs a newer patch release of this Python: one with " + NAME.decode(),
    )
