"""The tools of a release: the tree that packages are built from, and the versions in the files."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
LINK = re.compile(r"\]\(([^()\s]+)\)")


def run(tool, *words, cwd=ROOT):
    command = [sys.executable, cwd / "tools" / tool, *words]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


@pytest.fixture(scope="module")
def in_git():
    done = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True)
    if done.returncode:
        pytest.skip("not a clone of the repository")


def release_tree(folder, *words):
    done = run("release-tree", folder, *words)
    assert done.returncode == 0, done.stderr
    readme = (folder / "README.md").read_text()
    return readme, tomllib.loads((folder / "pyproject.toml").read_text())["project"]


def test_links_of_the_readme_become_addresses(in_git, tmp_path):
    url = "https://forge.example/project"
    readme, project = release_tree(tmp_path, url + "/")
    assert LINK.findall((ROOT / "README.md").read_text())
    for target in LINK.findall(readme):
        if not target.startswith(url):
            assert target.startswith("https://"), target
            continue
        kind, tag, path = target.removeprefix(url + "/").split("/", 2)
        there = ROOT / path.partition("#")[0]
        assert tag == f"v{VERSION}" and there.exists(), target
        expected = "tree" if there.is_dir() else "raw" if there.suffix == ".png" else "blob"
        assert kind == expected, target
    assert project["urls"]["Source"] == url
    assert all(address.startswith(url) for address in project["urls"].values())


def test_without_an_address_only_the_text_of_links_stays(in_git, tmp_path):
    readme, project = release_tree(tmp_path)
    assert all(target.startswith("https://") for target in LINK.findall(readme))
    assert "urls" not in project
    assert "explained it, are in examples/talk" in readme
    # Programs are not prose.
    code = re.findall(r"^```.*?^```$", (ROOT / "README.md").read_text(), re.M | re.S)
    assert code == re.findall(r"^```.*?^```$", readme, re.M | re.S)


def test_a_release_tree_follows_the_files(in_git, tmp_path):
    """A second call removes what is gone, and leaves folders alone that it did not make."""
    release_tree(tmp_path)
    (tmp_path / "python" / "stackless" / "gone.py").touch()
    release_tree(tmp_path)
    assert not (tmp_path / "python" / "stackless" / "gone.py").exists()
    assert (tmp_path / "crates" / "stackless" / "Cargo.toml").exists()
    other = tmp_path / "docs"
    done = run("release-tree", other)
    assert done.returncode and "has other files" in done.stderr
    assert (other / "index.md").exists()


@pytest.fixture
def prepared(tmp_path):
    """A copy of what the tool reads, with a changelog in which nothing is pending."""
    names = [
        *("pyproject.toml", "Cargo.toml", "Cargo.lock", "CITATION.cff", "CHANGELOG.md"),
        *("tools/prepare-release", "python/stackless/__init__.py"),
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "changelog.d").mkdir()
    return tmp_path


def test_check_prints_the_section_of_the_version(prepared):
    done = run("prepare-release", "--check", VERSION, cwd=prepared)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip() and "\n## " not in done.stdout


def test_check_names_everything_that_is_not_prepared(prepared):
    (prepared / "changelog.d" / "new.added.md").write_text("Something.\n")
    (prepared / "changelog.d" / "README.md").write_text("Not a fragment.\n")
    citation = prepared / "CITATION.cff"
    citation.write_text(citation.read_text().replace(f"\nversion: {VERSION}\n", "\nversion: 9.9\n"))
    done = run("prepare-release", "--check", VERSION, cwd=prepared)
    assert done.returncode == 1
    assert "CITATION.cff has 9.9" in done.stderr
    assert "changelog.d/new.added.md is not in CHANGELOG.md" in done.stderr
    assert "README" not in done.stderr and "pyproject" not in done.stderr
    done = run("prepare-release", "--check", "77.0.0", cwd=prepared)
    assert "CHANGELOG.md has no section 77.0.0" in done.stderr
    assert f"Cargo.toml has {VERSION}" in done.stderr


def test_a_release_sets_the_version_everywhere(prepared):
    if shutil.which("cargo") is None:
        pytest.skip("cargo is not installed")
    pytest.importorskip("towncrier")
    shutil.copytree(ROOT / "crates", prepared / "crates")
    shutil.copy(ROOT / "changelog.d" / "template.md.jinja", prepared / "changelog.d")
    (prepared / "changelog.d" / "new.added.md").write_text("Something new.\n")
    subprocess.run(["git", "init", "-q"], cwd=prepared, check=True)
    done = run("prepare-release", "77.1.0rc1", cwd=prepared)
    assert done.returncode == 0, done.stderr
    done = run("prepare-release", "--check", "77.1.0rc1", cwd=prepared)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Something new." in done.stdout
    locked = (prepared / "Cargo.lock").read_text()
    assert 'name = "stackless-core"\nversion = "77.1.0-rc1"' in locked


@pytest.mark.parametrize("words", [(), ("next",), ("--check",), ("1.2",), ("--force", "1.2.3")])
def test_wrong_arguments(prepared, words):
    done = run("prepare-release", *words, cwd=prepared)
    assert done.returncode == 1
    assert done.stderr.startswith("usage: prepare-release [--check] VERSION")
