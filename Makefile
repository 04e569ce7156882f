# XP-Net: `make demo` and `make test` do all the set-up themselves.
XPNET := .venv/bin/xpnet

.PHONY: help setup demo test lint clean

help:
	@echo "make demo    install what is missing, then masks on the demo clip: build/demo.mp4"
	@echo "make test    install what is missing, then lint, type check and all tests"
	@echo "make setup   install for running only"
	@echo "make lint    ruff, mypy, shellcheck, hadolint; compose files against the published schema"
	@echo "make clean   remove build/"

setup:
	@scripts/setup.sh

demo: setup
	@mkdir -p build
	$(XPNET) run docs/demo/colonoscopy.mp4 --output build/demo.mp4 --json build/demo.json

test:
	@scripts/setup.sh --dev
	@$(MAKE) --no-print-directory lint
	.venv/bin/python -m pytest

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/shellcheck -x scripts/*.sh jetson/*.sh docker/*.sh
	.venv/bin/hadolint Dockerfile jetson/Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec \
		compose.yaml compose.cart.yaml jetson/compose.yaml
	.venv/bin/docker-compose -f compose.yaml -f compose.cart.yaml --profile "*" config --quiet
	.venv/bin/docker-compose -f jetson/compose.yaml config --quiet

clean:
	rm -rf build
