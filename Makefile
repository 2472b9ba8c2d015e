# Every target sets up what it needs: a virtual environment in VENV, made with PYTHON, with this
# project and the extras the target asks for installed. What is set up already costs no time and
# no network.
#
#   make demo ARGS="--help"           arguments for the program that is run
#   make test ARGS="-k mailbox -x"
#   make test PYTHON=python3.12       another interpreter (default: python3, if it is 3.11 or newer)
#   make test VENV=/tmp/elsewhere     another place for the environment
#   make test-3.12                    that version, in an environment of its own

VENV ?= .venv
ARGS ?=
export PYTHON

RUN = "$(VENV)/bin/python"
# $(call ready,EXTRAS): the environment exists and has these extras
ready = @python="$$(scripts/find_python)" && "$$python" scripts/setup_venv.py "$(VENV)" $(1)

# pyright as it was installed, without a look-up of the newest; $(VENV) tells it what is installed
export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

.DEFAULT_GOAL := help
.PHONY: help demo pipeline test test-all check format bench docs coverage clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)$$/  make \1|\2/p' Makefile | awk -F'|' '{ printf "%-18s%s\n", $$1, $$2 }'
	@echo
	@sed -n 's/^#   /  /p' Makefile

demo: ## run the order saga: its process is killed three times, and goes on
	$(call ready)
	@$(RUN) -m examples.order_saga $(ARGS)

pipeline: ## process the files of a directory: ARGS="DIRECTORY"
	$(call ready,examples)
	@$(RUN) -m examples.file_pipeline $(ARGS)

test: ## run the tests with one interpreter
	$(call ready,test examples)
	$(RUN) -m pytest $(ARGS)

test-all: ## run the tests with the oldest and the newest CPython found
	@versions="$$(scripts/find_python --versions)" && \
	for version in $$(echo "$$versions" | sed -n '1p;$$p' | uniq); do \
	    $(MAKE) --no-print-directory "test-$$version" || exit 1; \
	done

test-3.%:
	@python="$$(scripts/find_python 3.$*)" && \
	$(MAKE) --no-print-directory test PYTHON="$$python" VENV="$(VENV)-3.$*"

check: ## formatting, lint, types and architecture
	$(call ready,lint test bench examples)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pyright --pythonpath "$(VENV)/bin/python"
	"$(VENV)/bin/lint-imports" --no-logo

format: ## put the source into shape
	$(call ready,lint)
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

bench: ## measure, against the peers
	$(call ready,bench)
	$(RUN) -m benchmarks $(ARGS)

docs: ## build the documentation
	$(call ready,docs)
	$(RUN) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "docs/_build/html/index.html"

coverage: ## run the tests and report the branches they leave out
	$(call ready,test examples)
	@rm -f .coverage .coverage.*
	$(RUN) -m coverage run -m pytest $(ARGS)
	@$(RUN) scripts/combine_coverage.py
	$(RUN) -m coverage report --include="*/actors/*,actors/*"
	$(RUN) -m coverage report --include="*/supervisors/*,supervisors/*"
	$(RUN) -m coverage report --include="*/mediators/*,mediators/*"
	$(RUN) -m coverage report --include="*/observers/*,observers/*"

clean: ## remove all that was made here, environments included
	rm -rf .demo build dist docs/_build htmlcov .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache .bench-venv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@for venv in "$(VENV)" "$(VENV)"-3.*; do \
	    if [ -f "$$venv/pyvenv.cfg" ]; then echo "rm -rf $$venv"; rm -rf "$$venv"; fi; \
	done
