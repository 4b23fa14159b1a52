# Seatweb's everyday commands. `make run` needs only Python 3.11 or newer. Works with GNU make 3.81 and newer.

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
RUN_READY := $(VENV)/.run-requirements
TEST_READY := $(VENV)/.test-requirements

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help run test quick test-browsers test-timing bench lint format audit browser browsers pooler requirements \
	screenshots clean

help:
	@echo "make run            start Seatweb at http://127.0.0.1:8000 with its own PostgreSQL and Redis (data/)"
	@echo "make test           linters and all tests, with a real browser; PYTEST='-k holds' passes arguments,"
	@echo "                    COVERAGE=1 measures which code the tests run"
	@echo "make quick          linters, types, and the tests that need no server"
	@echo "make test-browsers  run the core journeys in Firefox and WebKit (Linux)"
	@echo "make test-timing    run the tests that measure time; before a release, on an otherwise idle machine"
	@echo "make bench          run the benchmarks; BENCH='--quick booking' passes arguments (benchmarks/README.md)"
	@echo "make lint           linters only"
	@echo "make format         format the code"
	@echo "make audit          ask PyPI's advisory database about every pinned dependency (needs the network)"
	@echo "make requirements   update the pinned dependencies from pyproject.toml (needs the network)"
	@echo "make screenshots    retake the screenshots in the documentation"
	@echo "make clean          remove everything built, but keep data/"

run: $(RUN_READY)
	@SEATWEB_DATA_DIR="$${SEATWEB_DATA_DIR:-$(CURDIR)/data}" exec $(PYTHON) -m seatweb serve

test: lint browser pooler
	@chromium=$$(cat $(VENV)/.chromium) && \
	SEATWEB_TEST_CHROMIUM="$$chromium" exec $(PYTHON) -m pytest -n auto --dist worksteal $(if $(COVERAGE),--cov --cov-report=term) $(PYTEST)

quick: lint
	@exec $(PYTHON) -m pytest -m "quick and not timing" $(PYTEST)

test-timing: browser
	@SEATWEB_TEST_CHROMIUM="$$(cat $(VENV)/.chromium)" exec $(PYTHON) -m pytest -m timing $(PYTEST)

test-browsers: browsers
	@exec $(PYTHON) -m pytest -n 2 $(PYTEST) tests/browsers

bench: $(TEST_READY)
	@exec $(PYTHON) -m benchmarks $(BENCH)

lint: $(TEST_READY)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/djlint --lint templates

format: $(TEST_READY)
	$(VENV)/bin/ruff check --fix --exit-zero .
	$(VENV)/bin/ruff format .

screenshots: $(TEST_READY) browser
	@SEATWEB_TEST_CHROMIUM="$$(cat $(VENV)/.chromium)" $(PYTHON) docs/screenshots.py

clean:
	rm -rf $(VENV) build dist *.egg-info .coverage .coverage.* coverage.xml htmlcov test-results
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find seatweb tests docs benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# The virtual environment. Its .pth file makes the package importable from any folder without a build.
$(PYTHON):
	@find_python() { \
		for candidate in python3.14 python3.13 python3.12 python3.11 python3 python; do \
			"$$candidate" -c "import sys, venv$$1; sys.exit(sys.version_info < (3, 11))" >/dev/null 2>&1 && return 0; \
		done; return 1; \
	}; \
	if ! find_python ", ensurepip"; then \
		if ! find_python ""; then \
			echo "Seatweb needs Python 3.11 or newer, and found none as python3 or python. Install it, then try again." >&2; \
			exit 1; \
		fi; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
			version=$$("$$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
			apt-get update -q && { apt-get install -q -y --no-install-recommends "python$$version-venv" || \
				apt-get install -q -y --no-install-recommends python3-venv; } || exit 1; \
		else \
			echo "$$candidate cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv" >&2; \
			exit 1; \
		fi; \
	fi; \
	rm -rf $(VENV); "$$candidate" -m venv $(VENV) && \
	$(PYTHON) -c 'import site, sys; open(site.getsitepackages()[0] + "/seatweb.pth", "w").write(sys.argv[1] + "\n")' "$(CURDIR)" || \
	{ rm -rf $(VENV); exit 1; }

$(RUN_READY): requirements.txt | $(PYTHON)
	@echo "Installing what Seatweb needs (the first time only) ..."
	@$(PYTHON) -m pip install -q --no-deps --require-hashes -r requirements.txt
	@touch $@

$(TEST_READY): requirements-dev.txt requirements.txt | $(PYTHON)
	@echo "Installing what the tests need (the first time only) ..."
	@$(PYTHON) -m pip install -q --no-deps --require-hashes -r requirements-dev.txt
	@touch $(RUN_READY) $@

# A browser for the tests: Chromium's headless shell (half the processor time of the whole Chromium), or what the system
# has, or one that is installed now. Store its path; empty means Playwright's own.
browser: $(TEST_READY)
	@find_browser() { \
		for candidate in "$$@"; do \
			"$$candidate" --version >/dev/null 2>&1 && command -v "$$candidate" && return 0; \
		done; return 1; \
	}; \
	install() { \
		[ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1 || return 1; \
		echo "Installing $$1 (the first time only) ..." >&2; \
		apt-get update -q >/dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$$1" </dev/null >&2; \
	}; \
	shell=chromium-headless-shell; others="chromium chromium-browser google-chrome"; \
	if find_browser $$shell >$(VENV)/.chromium; then exit 0; fi; \
	if install $$shell && find_browser $$shell >$(VENV)/.chromium; then exit 0; fi; \
	if find_browser $$others >$(VENV)/.chromium; then exit 0; fi; \
	if install chromium && find_browser $$others >$(VENV)/.chromium; then exit 0; fi; \
	: >$(VENV)/.chromium; \
	if [ ! -f $(VENV)/.playwright-chromium ]; then \
		$(PYTHON) -m playwright install --only-shell chromium && touch $(VENV)/.playwright-chromium; \
	fi

# PgBouncer for the tests with a connection pooler. Where it cannot be installed, they are skipped and say so.
pooler:
	@if ! command -v pgbouncer >/dev/null && [ ! -x /usr/sbin/pgbouncer ] && [ "$$(id -u)" = 0 ] && \
		command -v apt-get >/dev/null 2>&1; then \
		echo "Installing pgbouncer (the first time only) ..."; \
		apt-get update -q >/dev/null && \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends pgbouncer </dev/null || true; \
	fi

# Stock Firefox, WebKit's MiniBrowser with its driver, and a virtual display; package names are those of Debian.
browsers: $(TEST_READY)
	@missing() { \
		command -v firefox-esr >/dev/null || command -v firefox >/dev/null || echo firefox-esr; \
		command -v WebKitWebDriver >/dev/null || echo webkit2gtk-driver; \
		command -v Xvfb >/dev/null || echo xvfb; \
	}; \
	packages=$$(missing | tr '\n' ' '); \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
		echo "Installing $$packages(the first time only) ..."; \
		apt-get update -q && \
		DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$packages </dev/null || exit 1; \
		packages=$$(missing | tr '\n' ' '); \
	fi; \
	if [ -n "$$packages" ]; then \
		echo "The tests in Firefox and WebKit lack: $$packages" >&2; \
		echo "On Debian or Ubuntu: apt-get install $$packages" >&2; \
		echo "Elsewhere install Firefox, WebKitGTK with MiniBrowser and WebKitWebDriver, and Xvfb." >&2; \
		exit 1; \
	fi

# pip-audit runs in a separate environment, so that it does not check its own dependencies. --strict fails if a
# dependency cannot be checked.
audit: $(PYTHON)
	@test -x $(VENV)/audit/bin/pip-audit || { $(PYTHON) -m venv $(VENV)/audit && $(VENV)/audit/bin/pip install -q pip-audit; }
	$(VENV)/audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r requirements-dev.txt

requirements: $(TEST_READY)
	@$(PYTHON) -m pip install -q uv
	$(VENV)/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.txt
	$(VENV)/bin/uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links pyproject.toml --group dev -o requirements-dev.txt
