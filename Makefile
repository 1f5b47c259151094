# Two commands for a new machine: `make demo` and `make test`. Everything else they need is set up by them.
PYTHON ?= python3
# The versions to install; constraints-lowest.txt has the lowest that the package is for.
CONSTRAINTS ?= constraints.txt
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
export HF_HUB_DISABLE_TELEMETRY = 1

.PHONY: install install-dev demo test test-slow docs campaigns check format bench bench-gpu release clean

install: $(VENV)/.installed

install-dev: $(VENV)/.installed-dev

demo: install
	$(BIN)/safr demo

# What a change is tried with while it is made; CI runs the slow ones as well.
test: $(VENV)/.installed-dev
	$(PYTEST) -m "not slow"

# Whole commands, several processes, and the pages in a browser.
test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow

# The site, in build/docs: open build/docs/index.html. Runs the tutorials; a warning or a failing cell is an error.
docs: $(VENV)/.installed-docs
	$(BIN)/python docs/assemble.py build/docs-source
	$(BIN)/python -m sphinx -c docs -d build/docs-doctrees -W --keep-going -n -q build/docs-source build/docs

# Hours of kills, damaged files and hostile requests; what they tried is printed, and kept in docs/reliability.md.
campaigns: $(VENV)/.installed-dev
	$(BIN)/python -m pytest --campaigns --capture=no tests/campaigns

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/check-jsonschema --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yml

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/speed.py
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/growth.py

bench-gpu: $(VENV)/.installed-dev
	$(BIN)/python benchmarks/gpu.py

# Builds dist/, installs the wheel in a fresh environment and runs the demo's first minute there. It publishes nothing.
# `make release FINAL=--final` also asks for the version's tag and a checkout without changes.
release: $(VENV)/.installed-release
	$(BIN)/python .ci/release.py $(FINAL)

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml $(CONSTRAINTS) | $(VENV)/bin/python
	$(PIP) install --constraint $(CONSTRAINTS) --editable ".[app,demo]"
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --constraint $(CONSTRAINTS) --editable ".[dev]"
	touch $@

$(VENV)/.installed-release: $(VENV)/.installed
	$(PIP) install --constraint $(CONSTRAINTS) --editable ".[release]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) install --constraint $(CONSTRAINTS) --editable ".[docs]"
	touch $@
