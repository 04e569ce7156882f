# Shortcuts for development; `make help` lists them. `demo` and `test` install what is missing.
XPNET := .venv/bin/xpnet

.PHONY: help setup demo test lint docs pages wheel-proof service-proof release-files clean

help:
	@echo "make demo    install XP-Net if needed and draw masks on the demo clip: build/demo.mp4"
	@echo "make test    install the development packages if needed, then lint and run all tests"
	@echo "make setup   install what 'xpnet run' and 'xpnet serve' need"
	@echo "make lint    check format, types, shell scripts, Dockerfiles, compose files and forms"
	@echo "make docs    install MkDocs if needed and build the site of docs/: build/site/index.html"
	@echo "make pages   copy the scores of training/weights to the served models, write docs/ again"
	@echo "make wheel-proof  build wheel and sdist, run the demo from them in a clean venv"
	@echo "make service-proof  as root: run the cart's service in a systemd of its own and let it fail"
	@echo "make release-files  write SBOM, third-party licences and checksums: build/release"
	@echo "make clean   remove build/"

setup:
	@scripts/setup.sh

demo: setup
	@mkdir -p build
	$(XPNET) run docs/demo/colonoscopy.mp4 --output build/demo.mp4 --json build/demo.json

test:
	@scripts/setup.sh --dev
	@$(MAKE) --no-print-directory lint
	@# A worker that dies would let pytest-xdist wait for ever if it were replaced.
	.venv/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/shellcheck -x scripts/*.sh jetson/*.sh docker/*.sh
	.venv/bin/hadolint Dockerfile jetson/Dockerfile
	.venv/bin/check-jsonschema --builtin-schema vendor.compose-spec \
		compose.yaml compose.cart.yaml jetson/compose.yaml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	.venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms \
		$(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	.venv/bin/docker-compose -f compose.yaml -f compose.cart.yaml --profile "*" config --quiet
	.venv/bin/docker-compose -f jetson/compose.yaml config --quiet

docs:
	@scripts/setup.sh --docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict --quiet

pages:
	@scripts/setup.sh --train
	.venv/bin/python -m scripts.copy_scores
	.venv/bin/python -m scripts.pages

wheel-proof: setup
	.venv/bin/python scripts/prove_wheel.py

service-proof:
	python3 scripts/prove_service.py

release-files:
	@scripts/setup.sh --release
	.venv/bin/python scripts/make_release_files.py

clean:
	rm -rf build
