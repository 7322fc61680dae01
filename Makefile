# streamcap: everyday commands. `make` alone lists them.

PYTHON ?= python3
VENV ?= .venv
# Further words for the program that a target runs: make demo ARGS="--seconds 20", make test ARGS="-k wire".
ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
MODELS_INSTALLED := $(VENV)/.installed-models
# Processes that share the tests out among them, file by file; more than there are processors does not help.
JOBS ?= 2
# How often a test of tests/integration, or a file of tests/browser, that fails is run again; the summary says which.
RERUNS ?= 1
# same: tests of properties try the same examples each time. Anything else: new ones, which may find what nobody saw yet.
EXAMPLES ?= same
# no: `make test` leaves torch and the other backends of models out, and skips their tests.
MODELS ?= yes
# Where torch has builds without CUDA (0.2 GB in place of 3); asked only where it can be reached.
TORCH_CPU ?= https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help setup models weights demo test js browser lint format quality bench clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo '  PYTHON=python3.12 chooses another Python (3.11 or newer), ARGS="..." passes words on.'

setup: $(INSTALLED)  ## Virtual environment with everything installed (quick the second time)

# Anew whenever the declared dependencies change. The code itself is installed in place.
$(INSTALLED): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "streamcap needs Python 3.11 or newer, and '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -n 1)"; \
		echo "  choose another: make $(or $(MAKECMDGOALS),setup) PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments"; \
		echo "  on Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (about 0.8 GB, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

models: $(MODELS_INSTALLED)  ## Install torch and the other backends of models, which only their tests need

# Quick the second time. Where it cannot be installed the tests that need it are skipped, and the next run tries again.
$(MODELS_INSTALLED): $(INSTALLED)
	@echo "installing the backends of models into $(VENV) (about 1.3 GB with torch for CPUs, once; MODELS=no leaves them out)"
	@index=; if $(BIN)/python -c 'import sys, urllib.request as r; r.urlopen(sys.argv[1] + "/torch/", timeout=5)' \
		$(TORCH_CPU) 2>/dev/null; then index="--extra-index-url $(TORCH_CPU)"; fi; \
	if $(BIN)/python -m pip install --quiet --disable-pip-version-check $$index --editable '.[dev,models]'; \
	then touch $@; else echo "not installed: the tests that need them are skipped"; fi

weights: $(INSTALLED)  ## Fetch and check what the embedded default and the demo need
	@$(BIN)/streamcap models pull default demo

demo: weights  ## Play a real clip as a live stream, captions in the terminal and on ws://127.0.0.1:8750
	@$(BIN)/streamcap demo $(ARGS)

# Without weights the tests that need them are skipped, or fail where STREAMCAP_REQUIRE names them.
test: $(INSTALLED) $(if $(filter yes,$(MODELS)),$(MODELS_INSTALLED))  ## Run the tests
	@$(BIN)/streamcap models pull default || echo "going on without weights"
	STREAMCAP_RERUNS=$(RERUNS) STREAMCAP_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder \
		-r aR --rerun-show-tracebacks $(ARGS)

# Its tests start feed servers with this virtual environment's Python.
js: $(INSTALLED)  ## Check and test the JavaScript client (Node 20.10 or newer)
	@node -e 'const [a, b] = process.versions.node.split("."); process.exit(a > 20 || (a == 20 && b >= 10) ? 0 : 1)' || { \
		echo "the JavaScript client needs Node 20.10 or newer, with npm"; exit 1; }
	cd clients/js && npm ci --no-audit --no-fund && npm run check && npm test

browser: weights  ## Test with a real browser: the monitor, WebRTC, previews, sessions (Node as above, and Chromium)
	cd tests/browser && npm ci --no-audit --no-fund && npm run check && RERUNS=$(RERUNS) npm test

lint: $(INSTALLED)  ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(INSTALLED)  ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

quality: weights  ## Caption the reference clips, score the captions and write a page to look at
	$(BIN)/python benchmarks/quality.py $(ARGS)

bench: weights  ## Measure speed, memory and latency
	$(BIN)/python benchmarks/run.py $(ARGS)

clean:  ## Remove what was built here; the weights in the user's cache stay
	rm -rf $(VENV) tests/browser/node_modules clients/js/node_modules clients/js/types build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
