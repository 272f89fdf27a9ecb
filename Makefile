# `make help` lists the targets. Everything is built into .venv/<version> and target/py<version>,
# so that several interpreters live side by side and a second run has nothing to do.
#
#   make test PYTHON=3.12           another Python than the default python3 (or PYTHON=/its/path)
#   make test ARGS='-k channel -x'  more arguments for pytest

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.SECONDEXPANSION:
.DELETE_ON_ERROR:
# The stamps stay.
.PRECIOUS: .venv/%/.ready .venv/%/.built .venv/%/.bench .venv/%/.libraries .venv/%/.durable .venv/%/.cluster
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory
export PIP_DISABLE_PIP_VERSION_CHECK := 1

PYTHON ?=
ARGS ?=
# Debug builds of Python get one of ours, with assertions.
MATURIN_FLAGS ?= $(if $(filter %d,$(TAG)),,--release)

# "3.12 /usr/bin/python3.12": looked up once, and only when a target needs it.
FOUND = $(eval FOUND := $(shell tools/find-pythons --default $(PYTHON)))$(or $(FOUND),$(error no usable Python))
TAG = $(firstword $(FOUND))
PY = $(lastword $(FOUND))
VENV = .venv/$(TAG)

SOURCES := $(shell find crates Cargo.toml Cargo.lock -type f -not -path '*/target/*' 2>/dev/null)
RUST_TESTED := -p stackless-core -p stackless-stack -p stackless-reactor -p stackless-record

.PHONY: help demo test test-all test-rust test-python test-packages lab test-anyio test-cpython animations browser bench bench-io bench-durable bench-cluster bench-check \
        performance-table wheels lint-release release docs docs-serve docs-deploy \
        lint format changelog nightly valgrind build wheel clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' Makefile

# ------------------------------------------------------------------ set up and build

.venv/%/.ready: requirements-dev.txt $$(wildcard benches/requirements.txt)
	@tools/check-system "$(PY)"
	@echo "== environment .venv/$* for $(PY)"
	@.venv/$*/bin/python -c '' 2>/dev/null || { \
	  rm -rf .venv/$*; mkdir -p .venv; \
	  if command -v uv >/dev/null; then uv venv -q --seed --python "$(PY)" .venv/$*; \
	  else "$(PY)" -m venv .venv/$*; fi; }
	@if command -v uv >/dev/null; then uv pip install -q --python .venv/$*/bin/python -r requirements-dev.txt; \
	 else .venv/$*/bin/python -m pip install -q -r requirements-dev.txt; fi
	@touch $@

.venv/%/.built: .venv/%/.ready pyproject.toml $(SOURCES)
	@echo "== building for $(PY)"
	@unset CONDA_PREFIX; VIRTUAL_ENV="$(CURDIR)/.venv/$*" CARGO_TARGET_DIR="$(CURDIR)/target/py$*" \
	  .venv/$*/bin/maturin develop $(MATURIN_FLAGS)
	@touch $@

build: $$(VENV)/.built ## Build the extension for the default Python

# ------------------------------------------------------------------ run and test

demo: build ## Set up, build and run the programs of the talk
	@$(VENV)/bin/python examples/demo.py $(ARGS)

test: test-rust test-python ## All tests on the default Python

test-rust:
	@tools/check-system
	@echo "== Rust tests"
	@if cargo nextest --version >/dev/null 2>&1; then \
	  cargo nextest run --no-tests pass $(RUST_TESTED) && cargo test -q --doc $(RUST_TESTED); \
	else cargo test -q $(RUST_TESTED); fi

test-python: build
	@echo "== Python tests on $(TAG) ($(PY))"
	@$(VENV)/bin/python -m pytest $(ARGS)
	@$(if $(findstring tests/,$(ARGS))$(filter -k -m,$(ARGS)),,$(VENV)/bin/python -m pytest $(ARGS) tests/cluster)

test-all: test-rust ## All tests on every supported Python that is found
	@tools/test-all $(ARGS)

animations: build ## The talk's programs as animations, in docs/animations
	@tools/make-animations $(VENV)/bin/python

test-cpython: build ## CPython's own tests of what stackless.monkey patches, beside an unpatched run
	@$(VENV)/bin/python tests/cpython/run.py $(ARGS)

.venv/%/.libraries: .venv/%/.ready tests/libraries/requirements.txt
	@.venv/$*/bin/python -m pip --version >/dev/null 2>&1 && pip=".venv/$*/bin/python -m pip install" || \
	  pip="uv pip install --python .venv/$*/bin/python"; $$pip -q -r tests/libraries/requirements.txt
	@touch $@

lab: build $$(VENV)/.libraries ## Well-known libraries with real servers, which it starts and stops; a table at the end
	@tools/check-servers
	@$(VENV)/bin/python -m pytest tests/libraries $(ARGS)

test-anyio: build ## anyio's own tests on our event loop, beside asyncio's (some minutes)
	@$(VENV)/bin/python tests/libraries/anyio_suite.py

test-packages: $$(VENV)/.ready ## Build the sdist and a wheel, install and try each outside the tree
	@$(VENV)/bin/python tests/packaging/check_packages.py

nightly: build ## The long tests: more cases, more rounds, an hour of chaos (two to three hours)
	@PROPTEST_CASES=20000 cargo test --release -q $(RUST_TESTED)
	@STACKLESS_NIGHTLY=1 $(VENV)/bin/python -m pytest -o timeout=7200 $(ARGS)
	@STACKLESS_NIGHTLY=1 $(VENV)/bin/python -m pytest -o timeout=7200 tests/cluster
	@$(MAKE) test-anyio
	@$(MAKE) valgrind

valgrind: ## Tests of the engine under valgrind (a quarter of an hour)
	@tools/check-system "$(PY)"
	@tools/valgrind-tests "$(PY)" $(ARGS)

browser: docs ## The animation and the documentation site in a real browser (Debian's chromium, Playwright)
	@tools/check-browser $(VENV)/bin/python
	@$(VENV)/bin/python -m pytest -s tests/browser $(ARGS)

# ------------------------------------------------------------------ measure

.venv/%/.bench: .venv/%/.ready $$(wildcard benches/requirements.txt)
	@test ! -e benches/requirements.txt || .venv/$*/bin/python -m pip install -q -r benches/requirements.txt
	@touch $@

bench: build $$(VENV)/.bench ## Measure against greenlet, gevent, asyncio, threads and Go
	@$(VENV)/bin/python benches/run.py $(ARGS)

bench-io: build $$(VENV)/.bench ## Measure sleepers, sockets, HTTP, threads and asyncio beside others
	@$(VENV)/bin/python benches/sleepers.py
	@$(VENV)/bin/python benches/ticker.py
	@$(VENV)/bin/python benches/echo_server.py
	@$(VENV)/bin/python benches/http_server.py
	@$(VENV)/bin/python benches/wsgi_servers.py
	@$(VENV)/bin/python benches/thread_memory.py
	@$(VENV)/bin/python benches/urls.py
	@$(VENV)/bin/python benches/idle_connections.py
	@$(VENV)/bin/python benches/asyncio_loops.py

.venv/%/.durable: .venv/%/.ready benches/durable-requirements.txt
	@.venv/$*/bin/python -m pip install -q -r benches/durable-requirements.txt
	@touch $@

bench-durable: build $$(VENV)/.durable ## Durable workflows beside DBOS and plain commits; a million sleeping ones
	@$(VENV)/bin/python benches/durable_workflows.py $(ARGS)
	@$(VENV)/bin/python benches/durable_sleepers.py

.venv/%/.cluster: .venv/%/.ready benches/cluster-requirements.txt
	@.venv/$*/bin/python -m pip install -q -r benches/cluster-requirements.txt
	@touch $@

bench-cluster: build $$(VENV)/.cluster ## Tasklets on worker processes beside Dask's own calls
	@$(VENV)/bin/python benches/cluster.py $(ARGS)

bench-check: build $$(VENV)/.bench ## Fail when a promised ratio is missed
	@$(VENV)/bin/python benches/check.py $(ARGS)

performance-table: ## Check the ratios on every Python found; the table goes into docs/performance.md
	@tools/performance-table $(ARGS)

# ------------------------------------------------------------------ documentation

.venv/docs/.ready: tools/docs-requirements.txt
	@"$(PY)" -m venv .venv/docs
	@.venv/docs/bin/python -m pip install -q -r $<
	@touch $@

docs: build .venv/docs/.ready ## The documentation site, into target/docs/site, and a check of its links and names
	@$(VENV)/bin/python tools/site/pages.py
	@NO_MKDOCS_2_WARNING=1 .venv/docs/bin/mkdocs build --strict -f target/docs/mkdocs.yml
	@$(VENV)/bin/python tools/site/check_site.py target/docs/site

docs-serve: docs ## Show it at http://127.0.0.1:8000
	@.venv/docs/bin/python -m http.server --bind 127.0.0.1 --directory target/docs/site 8000

docs-deploy: build .venv/docs/.ready ## Put it, as VERSION and as the latest, on the branch gh-pages
	@$(VENV)/bin/python tools/site/pages.py --versioned
	@NO_MKDOCS_2_WARNING=1 PATH="$(CURDIR)/.venv/docs/bin:$$PATH" mike deploy -F target/docs/mkdocs.yml \
	  --update-aliases $(ARGS) "$(VERSION)" latest
	@PATH="$(CURDIR)/.venv/docs/bin:$$PATH" mike set-default -F target/docs/mkdocs.yml $(ARGS) latest

# ------------------------------------------------------------------ check and release

lint: build ## Formatting, warnings, layers, the C interface, types, stubs, changelog
	cargo fmt --all --check
	PYO3_PYTHON="$(CURDIR)/$(VENV)/bin/python" CARGO_TARGET_DIR="$(CURDIR)/target/lint" \
	  cargo clippy -q --workspace --all-targets -- -D warnings
	tools/check-layers
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	MYPYPATH=python $(VENV)/bin/python -m mypy.stubtest stackless \
	  --mypy-config-file pyproject.toml --allowlist tools/stubtest-allowlist.txt
	tools/check-c-interface
	tools/check-changelog
	$(VENV)/bin/towncrier build --draft >/dev/null

format: $$(VENV)/.ready ## Format Rust and Python
	cargo fmt --all
	$(VENV)/bin/ruff check --fix-only -q .
	$(VENV)/bin/ruff format -q .

changelog: build ## Show what the next release will say in CHANGELOG.md
	@$(VENV)/bin/towncrier build --draft $(ARGS)

wheel: $$(VENV)/.ready ## Build a wheel for the default Python, and the sdist, into dist/
	CARGO_TARGET_DIR="$(CURDIR)/target/py$(TAG)" $(VENV)/bin/maturin build --release --sdist \
	  --interpreter "$(CURDIR)/$(VENV)/bin/python" --out dist

wheels: ## Wheels of all supported CPythons for x86-64 and aarch64, and the sdist, into dist/; tries each
	@tools/make-wheels $(ARGS)

lint-release: $$(VENV)/.ready ## The release workflow, the issue forms, the citation, the README of a package index
	@tools/check-release "$(CURDIR)/$(VENV)/bin/python"

release: $$(VENV)/.ready ## Prepare the commit of a release: make release VERSION=1.2.3
	@$(VENV)/bin/python tools/prepare-release $(VERSION)

clean: ## Remove everything that was built
	rm -rf target .venv dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f python/stackless/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
