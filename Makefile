.DEFAULT_GOAL := help
.PHONY: help setup lint test demo evaluate bench bench-vocabulary bench-node clean

SHELL := /bin/bash
ENTER := source ./env.sh &&

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' Makefile
	@echo "  Further arguments go through ARGS: make test ARGS='-k vocabulary'"
	@echo "  Without a sourced ROS it is ROS 2 Jazzy from Python wheels; another: DISTRO=kilted make test"

setup: ## make the environment (again: in a second); afterwards: source env.sh
	@bash tools/setup.sh

lint: setup ## set up, then check style, types and layers
	@$(ENTER) ruff check . && ruff format --check . && mypy && exec lint-imports

test: lint ## set up, check as lint does, then run the tests
	@# One thread per process: the tests run small models, some in a node beside them. Two processes share the files,
	@# in the order in which test/conftest.py puts them.
	@$(ENTER) export OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} && \
		exec python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -ra --durations=10 $(ARGS)

demo: setup ## set up, then label a replayed camera stream; pictures and an animation in demo_out/
	@$(ENTER) exec activesam-demo $(ARGS)

evaluate: setup ## set up, then compare four methods on a rendered drive, also with corrupted images; report in evaluation_out/
	@$(ENTER) { [ -e evaluation_out/drive ] || activesam-make-bag evaluation_out/drive --toytown; } && \
		exec activesam-evaluate evaluation_out/drive --labels /ground_truth/labels --out evaluation_out/report \
			--model toytown --vocabulary toytown --compare full-vocabulary,per-class,no-expansion \
			--corrupt gaussian_noise,motion_blur,jpeg_compression,fog $(ARGS)

bench: setup ## set up, then count the operations of every method, and measure the demo model; bench_out/
	@$(ENTER) activesam-bench work --out bench_out && exec activesam-bench speed --out bench_out $(ARGS)

bench-vocabulary: setup ## set up, then measure the cost of vocabulary changes, and the memory of the text encoder
	@$(ENTER) exec activesam-bench vocabulary $(ARGS)

bench-node: setup ## set up, then measure the node briefly: a soak, two cameras, and its overhead over the segmenter
	@$(ENTER) activesam-bench soak --frames 600 --warm-up 200 $(ARGS) && \
		activesam-bench cameras --seconds 10 $(ARGS) && \
		exec activesam-bench overhead --frames 12 $(ARGS)

clean: ## remove what was built in this clone (the shared environment stays)
	rm -rf .build bench_out demo_out evaluation_out .pytest_cache .ruff_cache .mypy_cache .import_linter_cache
