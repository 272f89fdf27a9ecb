"""The modules of the tests have different names: `import` finds one of a name in all folders."""

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]


def test_no_two_modules_have_one_name() -> None:
    counts = Counter(file.name for file in TESTS.rglob("*.py") if file.name != "conftest.py")
    assert [name for name, count in counts.items() if count > 1] == []
