# Everything starts here: `make help` lists the commands. Each sets up what it needs.

PYTHON   ?= python3
VENV     := .venv
ifeq ($(OS),Windows_NT)
BIN      := $(VENV)/Scripts
else
BIN      := $(VENV)/bin
endif
PY       := $(BIN)/python
READY    := $(VENV)/.ready
SITE     := $(VENV)/.site-ready

# what `make run` and `make refresh` take
CHAPTERS ?=
DEVICE   ?= auto
SEED     ?= 42
PROFILE  ?= quick
JOBS     ?= 2
# what `make test`, `make bench` and `make e2e` pass on, such as ARGS="-k timeseries"
ARGS     ?=
# what `make rot` tries: oldest, newest or both
VERSIONS ?= oldest newest

.DEFAULT_GOAL := help
.PHONY: help setup run test lab refresh exercises assignments doctor data-full bands bench rot site e2e tour format lock clean

help: ## list the commands
	@echo "make run         run every chapter headless, report in build/"
	@echo '                 CHAPTERS="01 12"  DEVICE=auto|cpu|cuda|mps  SEED=42  PROFILE=quick|full  JOBS=2'
	@echo "make test        run the whole test suite"
	@echo "make lab         open the course in JupyterLab"
	@echo "make doctor      look for what is wrong with this installation"
	@echo "make data-full   fetch the optional data sets (needs the network)"
	@echo 'make refresh     execute and normalise the committed notebooks, CHAPTERS="01 12" selects'
	@echo "make exercises   run the solutions and make the exercises from them"
	@echo "make assignments write the exercises to build/assignments/, to hand out"
	@echo 'make bands       measure how far the results spread over seeds, CHAPTERS="01 12" selects (an hour)'
	@echo "make bench       time the classic recipes against the course's, writes docs/benchmarks.md"
	@echo "make rot         run the suite with the oldest and the newest versions, warnings as errors"
	@echo "make site        build the course as a website in build/site/"
	@echo "make e2e         try the website and JupyterLab in a headless Chromium"
	@echo "make tour        renew docs/teaching.md from the notebooks and the last run"
	@echo "make format      format code and notebooks"
	@echo "make lock        renew requirements.txt from requirements.in (needs uv)"
	@echo "make clean       remove build/ and caches; the environment .venv stays"

setup: $(READY) ## create .venv and install requirements.txt

# The stamp is written last: an interrupted installation starts again. pip compiles what it installs,
# uv has to be asked to; without that each kernel start costs seconds more.
$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || \
	  { echo "error: the course needs Python 3.11 or newer; name one with PYTHON=python3.12" >&2; exit 2; }
	@echo "setting up $(VENV) (once; about 6 GB with the CUDA libraries that torch brings on Linux)"
	@if command -v uv >/dev/null 2>&1; then \
	  uv venv --quiet --allow-existing --python "$(PYTHON)" $(VENV) && \
	  UV_COMPILE_BYTECODE=1 uv pip install --quiet --python $(PY) -r requirements.txt; \
	else \
	  $(PYTHON) -m venv $(VENV) && \
	  $(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt; \
	fi
	@PYTHONDONTWRITEBYTECODE= $(PY) -m compileall -q utils
	@touch $(READY)

run: $(READY) ## run every chapter headless
	@$(PY) -m utils.run --chapters "$(CHAPTERS)" --device "$(DEVICE)" --seed "$(SEED)" \
	  --profile "$(PROFILE)" --jobs "$(JOBS)"

# The website and the browser tests need a few packages more.
$(SITE): $(READY) requirements-site.txt
	@if command -v uv >/dev/null 2>&1; then \
	  UV_COMPILE_BYTECODE=1 uv pip install --quiet --python $(PY) -r requirements-site.txt; \
	else \
	  $(PY) -m pip install --quiet --disable-pip-version-check -r requirements-site.txt; \
	fi
	@touch $(SITE)

test: $(READY) $(SITE) ## run the whole test suite
	@OMP_NUM_THREADS=1 $(PY) -m pytest -n 2 --durations=12 $(ARGS)

lab: $(READY) ## open the course in JupyterLab
	@$(BIN)/jupyter lab --notebook-dir=notebooks

refresh: $(READY) ## execute and normalise the committed notebooks
	@$(PY) -m utils.refresh --chapters "$(CHAPTERS)"

exercises: $(READY) ## run the solutions and make the exercises from them
	@$(PY) -m utils.exercises --execute --chapters "$(CHAPTERS)"

assignments: $(READY) ## write the exercises to a folder, to hand out
	@$(PY) -m utils.exercises --assignments build/assignments --chapters "$(CHAPTERS)"

doctor: $(READY) ## look for what is wrong with this installation
	@$(PY) -m utils.doctor

data-full: $(READY) ## fetch the optional data sets
	@$(PY) -m utils.datasets fetch

bands: $(READY) ## measure how far the results spread
	@$(PY) -m tools.bands --chapters "$(CHAPTERS)" --jobs "$(JOBS)"

bench: $(READY) ## time the classic recipes against the course's
	@$(PY) -m tools.bench $(ARGS)

rot: $(READY) ## run the suite with the oldest and the newest versions
	@$(PY) -m tools.rot $(VERSIONS)

site: $(READY) $(SITE) ## build the website
	@$(PY) -m tools.site

e2e: site ## try the website and JupyterLab in a browser
	@$(PY) -m tools.e2e $(ARGS)

tour: $(READY) ## renew docs/teaching.md
	@$(PY) -m tools.tour

format: $(READY) ## format code and notebooks
	@$(BIN)/ruff check --fix --quiet . && $(BIN)/ruff format --quiet .

lock: ## renew requirements.txt
	@uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-index-url requirements.in -o requirements.lock.tmp
	@{ echo "# Made by 'make lock' from requirements.in: do not edit. Python 3.11 to 3.13."; \
	   cat requirements.lock.tmp; echo "-e ."; } > requirements.txt
	@grep -v '^-e' requirements.txt > constraints.lock.tmp
	@uv pip compile --quiet --universal --python-version 3.11 --no-annotate --no-header \
	  --no-emit-index-url requirements-site.in -c constraints.lock.tmp -o requirements.lock.tmp
	@{ echo "# Made by 'make lock' from requirements-site.in: do not edit. Python 3.11 to 3.13."; \
	   cat requirements.lock.tmp; } > requirements-site.txt
	@rm requirements.lock.tmp constraints.lock.tmp

clean: ## remove build/ and caches
	@rm -rf build .pytest_cache .ruff_cache
	@find utils tests notebooks data -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
	@find notebooks -name .ipynb_checkpoints -prune -exec rm -rf {} + 2>/dev/null || true
