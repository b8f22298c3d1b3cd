# Short names for daily work. Everything runs in the environment of `uv sync --extra dev`.
.DEFAULT_GOAL := help
UV_RUN := uv run --frozen

.PHONY: help install fmt lint type test e2e torture bench docs pictures build check

help: ## list the targets
	@sed -n 's/^\([a-z][a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

install: ## install every app, driver and tool, and the git hooks
	uv sync --extra dev
	$(UV_RUN) pre-commit install

fmt: ## format and mend what can be mended
	$(UV_RUN) ruff check --fix .
	$(UV_RUN) ruff format .

lint: ## style and import rules
	$(UV_RUN) ruff check .
	$(UV_RUN) ruff format --check .
	$(UV_RUN) lint-imports

type: ## mypy, strict
	$(UV_RUN) mypy

test: ## tests of the members, of the layout, docs and dev-tools
	$(UV_RUN) python -m pytest -q --ignore=tests/e2e --ignore=tests/faults

e2e: ## tests with the three real services, kills included
	$(UV_RUN) python -m pytest -q tests/e2e tests/faults

torture: ## random work with kill -9 in between: twenty seeds, and 200 examples for each database (over an hour)
	FUSTOR_TORTURE_SEEDS=20 FUSTOR_MACHINE_RUNS=200 $(UV_RUN) python -m pytest -q -m torture tests/faults

bench: ## 300,000 files through the three services; writes benchmarks/RESULTS.md
	$(UV_RUN) python benchmarks/fs/run.py --files 300000 --write

docs: ## generate the reference pages
	$(UV_RUN) python dev-tools/gen_reference.py

pictures: ## pictures of every page of the consoles in docs/images (half an hour)
	$(UV_RUN) python dev-tools/screenshots.py

build: ## an sdist and a wheel of every member in dist/
	uv build --all-packages --no-sources

check: ## what CI runs
	.ci/run
