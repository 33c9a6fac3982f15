.DEFAULT_GOAL := help
.PHONY: help setup test demo bench-vocabulary clean

SHELL := /bin/bash
ENTER := source ./env.sh &&

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	@echo "  Further arguments go through ARGS: make test ARGS='-k vocabulary'"

setup: ## make the environment (again: in a second); afterwards: source env.sh
	@bash tools/setup.sh

test: setup ## set up, then run the tests
	@# One thread per process: the tests run small models, some in a node beside them.
	@$(ENTER) export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} && exec python -m pytest -ra --durations=10 $(ARGS)

demo: setup ## set up, then segment a replayed camera stream; pictures in demo_out/
	@$(ENTER) exec python -m activesam_ros.demo $(ARGS)

bench-vocabulary: setup ## set up, then measure what a change of words costs, and the memory of the text encoder
	@$(ENTER) exec python -m activesam_ros.bench vocabulary $(ARGS)

clean: ## remove what was built in this clone (the shared environment stays)
	rm -rf .build demo_out .pytest_cache .ruff_cache
