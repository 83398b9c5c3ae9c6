# Tuneway. Everything is installed into .venv; nothing else on the machine is changed.
PYTHON ?= python3
PROCESSES ?= 2
BIN := .venv/bin
STAMP := .venv/.installed
CONSOLE := admin/console/static/sources.sha256
VLLM := .venv/.vllm-installed
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile

.DEFAULT_GOAL := help

.PHONY: help
help: ## List these commands
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: install
install: $(STAMP) $(CONSOLE) ## Set up everything for development in .venv

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 install")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev]'
	touch $(STAMP)

# pip has built it; this is for who changes a script or a style.
$(CONSOLE): $(STAMP) $(wildcard admin/console/assets/*.js* admin/console/assets/*.css admin/console/assets/*/*.js admin/console/assets/*/*.css)
	$(BIN)/python hatch_build.py
	touch $(CONSOLE)

.PHONY: console
console: $(CONSOLE) ## Build the console's scripts and styles, where a source has changed

.PHONY: demo
demo: install ## From nothing to a fine-tuned model answering (ARGS=--keep leaves it serving)
	$(BIN)/python -m deploy.demo $(ARGS)

.PHONY: serve
serve: install ## Run the whole stack on http://127.0.0.1:8000
	$(BIN)/tuneway serve $(ARGS)

.PHONY: test
test: install ## Run the tests in two processes (PROCESSES=0: in one; ARGS="-k spool" narrows)
	$(PYTEST) $(ARGS)

.PHONY: vllm
vllm: $(VLLM) ## Install vLLM for a CPU in .venv too, and run the tests that need it
	TUNEWAY_REQUIRE_VLLM=1 $(PYTEST) tests/vllm $(ARGS)

# vLLM runs without the three that are removed; their builds for other torch versions break its import.
$(VLLM): $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[train,dev,vllm]'
	$(BIN)/python -m pip uninstall --quiet --disable-pip-version-check --yes torchvision torchaudio torchcodec
	touch $(VLLM)

.PHONY: check
check: install ## Lint, formatting, types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/codespell

.PHONY: format
format: install ## Format the code and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: example-settings
example-settings: install ## Write deploy/tuneway.example.toml anew from gateway/settings.py
	$(BIN)/python -m deploy.example_settings > deploy/tuneway.example.toml
