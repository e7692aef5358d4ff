# The developer's commands. A fresh checkout needs Python 3.11-3.13, git and make; everything else is installed
# into $(VENV) from the lock files, by hash. Nothing is installed again while the lock files stay the same.
#
#   make demo [DATA=file]    install, run the service, simulate, record, backtest, assess the risk
#   make test                check, then all quick tests       make test-slow   the long ones
#   make check               lint, format, types, layers       make docs        build the site into site/
#   make bench [FULL=1]      every program of benchmarks/      make serve       run the service
#   make setup               install only                      make lock        resolve the dependencies anew
#   make clean               remove what was built             make reference   write docs/reference/ anew
#   make pages               build the pages of dashboard/ (part of setup)

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
MARKET_MAKER := $(BIN)/market-maker
PYTEST_ARGS ?=
# The quick tests run in as many processes as there are cores, at most four; a file's tests share one. In the order of folders:
# the long ones, with services and browsers, come first, so that none is left over at the end.
TEST_PROCESSES ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# A stamp carries the checksum of what it installed, so that a changed lock file, and nothing else, installs again.
key = $(shell cat $(1) | cksum | tr ' ' '-')
RUNTIME := $(VENV)/.runtime-$(call key,requirements.lock)
DEVELOPMENT := $(VENV)/.development-$(call key,requirements.lock requirements-dev.lock)
# The package is editable: only its metadata and its commands need a new installation.
PACKAGE := $(VENV)/.package-$(call key,pyproject.toml README.md)
# The pages are built by the Node.js of the wheel; what they are made of is fetched once, by the hashes of their lock file.
PAGES_SOURCE := $(filter-out %.test.ts,$(wildcard dashboard/*.* dashboard/src/*/*.* dashboard/src/*/*/*.*))
PAGES := $(VENV)/.pages-$(call key,$(PAGES_SOURCE))
NODE_MODULES := $(VENV)/.node-modules-$(call key,dashboard/package-lock.json dashboard/package.json)
NPM = cd dashboard && PATH="$(abspath $(BIN)):$$PATH" npm

# uv is quicker (docs/decisions/0002-installer.md); pip does the same where uv cannot run or cannot reach its index.
INSTALL_WITH_UV = $(BIN)/uv pip install --quiet --python $(BIN)/python
INSTALL_WITH_PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check
LOCKED = --require-hashes --no-deps

.PHONY: setup develop demo serve check test test-slow bench docs reference lock clean
.DEFAULT_GOAL := test
.DELETE_ON_ERROR:

setup: $(RUNTIME) $(PACKAGE) $(PAGES)

develop: $(DEVELOPMENT) $(PACKAGE) $(PAGES)

demo: setup
	$(MARKET_MAKER) demo $(if $(DATA),--data "$(DATA)")

serve: setup
	$(MARKET_MAKER) serve

check: develop
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(NPM) run --silent check

test: check
	$(NPM) run --silent test
	$(MARKET_MAKER) compile --all
	$(BIN)/pytest -m "not slow" $(TEST_PROCESSES) $(PYTEST_ARGS)

test-slow: develop
	$(BIN)/pytest -m slow $(PYTEST_ARGS)

bench: develop
	@set -e; for program in benchmarks/[a-z]*.py; do echo "== $$program"; $(BIN)/python $$program $(if $(FULL),,--quick); done

docs: develop
	$(BIN)/python docs/generate_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

reference: develop
	$(BIN)/python docs/generate_reference.py

lock: $(BIN)/uv
	$(LOCK) pyproject.toml --group build -o requirements.lock
	$(LOCK) pyproject.toml --group dev -c requirements.lock -o requirements-dev.lock

LOCK = $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url

clean:
	rm -rf $(VENV) site build dist dashboard/node_modules src/market_maker/dashboard/built .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks examples docs -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || { echo "Python 3.11, 3.12 or 3.13 is needed; $(PYTHON) is `$(PYTHON) --version 2>&1`. Name another: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The pinned uv with its hashes is cut out of the lock file. A failure leaves no uv behind: pip takes over.
$(BIN)/uv: | $(BIN)/python
	-sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock > $(VENV)/installer.txt && $(INSTALL_WITH_PIP) $(LOCKED) -r $(VENV)/installer.txt

$(RUNTIME): | $(BIN)/python $(BIN)/uv
	$(INSTALL_WITH_UV) $(LOCKED) --compile-bytecode -r requirements.lock || $(INSTALL_WITH_PIP) $(LOCKED) -r requirements.lock
	@rm -f $(VENV)/.runtime-* && touch $@

$(DEVELOPMENT): | $(RUNTIME)
	$(INSTALL_WITH_UV) $(LOCKED) --compile-bytecode -r requirements-dev.lock || $(INSTALL_WITH_PIP) $(LOCKED) -r requirements-dev.lock
	@rm -f $(VENV)/.development-* && touch $@

$(PACKAGE): | $(RUNTIME)
	$(INSTALL_WITH_UV) --no-deps --no-build-isolation -e . || $(INSTALL_WITH_PIP) --no-deps --no-build-isolation -e .
	@echo "compiling the kernels (once; later runs read them from the cache)" && $(MARKET_MAKER) compile
	@rm -f $(VENV)/.package-* && touch $@

$(NODE_MODULES): | $(RUNTIME)
	$(NPM) ci --silent
	@rm -f $(VENV)/.node-modules-* && touch $@

# Everything but the pages works without them: a failure is told, and the next `make setup` tries again.
$(PAGES): | $(RUNTIME)
	@$(MAKE) --no-print-directory pages || echo "the pages were not built, so that there is no dashboard and no report; try again: make setup" >&2

.PHONY: pages
pages: $(NODE_MODULES)
	$(NPM) run --silent build
	@rm -f $(VENV)/.pages-* && touch $(PAGES)
