# Two commands: `make book` and `make test`. Both make .venv on first use. `make help` lists the rest.
#
# PROFILE   cpu (default) or smoke: which settings the study runs with (afd_study/study/profiles)
# HH_RLHF   a folder with Anthropic's HH-RLHF files: adds the chapter on real dialogues
# JOBS      how many steps and notebooks run at once (default: the cores)
# WHAT      which frozen results: all (default), worlds, chapters, map, ledger, arms, ablations, recipes,
#           exploration, judging, arm_schedules, adversarial, or gpu (needs one); of `make break` its parts, such
#           as WHAT="kills signals"
# ONLY      of these one ablation, or one part of exploration or judging (DRY=1 names them)
# DRY       1: say what is left of each part of the results, and run nothing
# SWEEP     a sweep's file (book/sweeps/example.yaml); ON=slurm runs it on a cluster
# PY        a Python that already has the packages (conda users: PY=python); without it .venv is made
PROFILE ?= cpu
HH_RLHF ?=
WHAT ?= all
ONLY ?=
DRY ?=
SWEEP ?= book/sweeps/example.yaml
ON ?= default
JOBS ?= $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help book read results sweep pretrained smoke test break load lint format notebooks browser constraints clean clean-all

ifeq ($(origin PY), undefined)
PY := .venv/bin/python
READY := .venv/.installed
else
READY :=
endif
# an unset HH_RLHF passes nothing at all
PUBLISH = "$(PY)" book/publish.py --jobs $(JOBS) $(if $(HH_RLHF),--hh-rlhf "$(HH_RLHF)")

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  settings: PROFILE=$(PROFILE) JOBS=$(JOBS) HH_RLHF=$(HH_RLHF) PY=$(PY)"

book: $(READY) ## run the study, execute the notebooks, publish book/_build/html/index.html
	@$(PUBLISH) --profile $(PROFILE)

read: $(READY) ## the whole book from frozen tables, without any training, in minutes
	@$(PUBLISH) --profile cpu --frozen --workspace book/_build/read

results: $(READY) ## recompute the frozen tables of book/results (WHAT=part): hours, resumable
	"$(PY)" -m afd_study.study results --what $(WHAT) $(if $(ONLY),--only "$(ONLY)") $(if $(DRY),--dry-run) --jobs $(JOBS)

sweep: $(READY) ## notebooks over tasks, seeds and settings (SWEEP=file, ON=slurm); extra `sweep`
	@"$(PY)" book/sweep.py "$(SWEEP)" --on $(ON) $(if $(filter default,$(ON)),--cores $(JOBS))

pretrained: $(READY) ## fetch SmolLM2-135M-Instruct (93 MB) into the user's cache folder (AFD_MODELS): 600 MB there
	@"$(PY)" -m afd_study.study fetch smollm2

smoke: $(READY) ## the whole book in minutes with tiny settings, beside the real one
	@$(PUBLISH) --profile smoke --workspace book/_build/smoke

test: $(READY) lint ## lint, types, tests, and the notebooks' stored outputs
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 "$(PY)" -m pytest -n $(JOBS) --dist loadfile --ignore-glob "tests/test_browser*.py" \
	  -m "not slow and not network" tests
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 "$(PY)" book/stored.py check --jobs $(JOBS)

break: $(READY) ## kills, damage, signals, small disks, little memory: print what held (long; WHAT=part)
	"$(PY)" -m tests.breaking $(filter-out all,$(WHAT))

load: $(READY) ## a million demonstrations, N = 1,000, a full store: print what they take (half an hour, 5 GB)
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 "$(PY)" -m tests.load

lint: $(READY) ## ruff and mypy
	@"$(PY)" -m ruff check .
	@"$(PY)" -m ruff format --check .
	@"$(PY)" -m mypy

format: $(READY) ## let ruff reformat the sources
	@"$(PY)" -m ruff check --fix-only .
	@"$(PY)" -m ruff format .

notebooks: $(READY) ## run notebooks/ with the smoke profile and store their outputs in place
	OMP_NUM_THREADS=1 TQDM_DISABLE=1 "$(PY)" book/stored.py write --jobs $(JOBS)

browser: smoke ## open every page of the smoke book in a real browser
	@"$(PY)" -m pytest tests/test_browser*.py

constraints: ## install the newest allowed versions in a scratch environment, then pin them
	@bash book/pin.sh

clean: ## remove executed notebooks and the rendered book (the store stays)
	rm -rf book/_build book/chapters build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

clean-all: clean ## also remove the store and .venv
	rm -rf .afd .venv

# Find the newest Python of 3.11 to 3.13 that starts and can make an environment. A shim that only prints
# advice does not count.
.venv/.installed: pyproject.toml constraints.txt
	@if ! .venv/bin/python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then \
	  found=""; seen=""; \
	  for candidate in $${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do \
	    if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then \
	      seen="$$candidate"; \
	      if "$$candidate" -c 'import venv, ensurepip' >/dev/null 2>&1; then found="$$candidate"; break; fi; \
	    fi; \
	  done; \
	  if [ -z "$$found" ] && [ -n "$$seen" ]; then \
	    echo "$$seen cannot make environments: install its venv module (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; fi; \
	  if [ -z "$$found" ]; then \
	    echo "no Python 3.11, 3.12 or 3.13 found: install one (Debian, Ubuntu: apt-get install python3 python3-venv), or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; fi; \
	  echo "making .venv with $$found ($$("$$found" --version))"; \
	  "$$found" -m venv --clear .venv; \
	fi
	@echo "installing the packages of constraints.txt into .venv (minutes, once)"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
