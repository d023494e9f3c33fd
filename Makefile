# `make demo` and `make test` do all of their set-up themselves; see README, "Development".

BIN := .venv/bin

# The results must not hang on what the caller's shell happens to say; nor the time: each process would compile all anew.
unexport PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test e2e browser check coverage bench lock docs screenshots clean

help: ## Show this
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: ## Make .venv, or bring it up to date; install MariaDB's server and client, age and others where they are missing
	@scripts/install

demo: install ## Back up a throwaway Kimai, lose it, restore it, compare
	@$(BIN)/python -m demo

# Four at once on two cores: for a third of their time tests wait, for a minute to come or a line that is silent.
test: install ## Run all tests but those in Docker and in a browser
	$(BIN)/python -m pytest -n 4 --ignore=tests/e2e_docker --ignore=tests/browser tests

e2e: install ## Run the tests in Docker: the image, compose.example.yml, MariaDB and MySQL; makes what it needs
	@scripts/docker-engine
	KIMAI_TEST_SERVERS=mysql $(BIN)/python -m pytest -n 2 --dist loadfile tests/e2e_docker tests/services

browser: install ## Run the tests of the status page in Chromium, of metrics and alert rules by promtool; installs both
	@scripts/browser
	$(BIN)/python -m pytest -q -n 2 tests/browser

check: install ## Lint, check formats, types and imports, run the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest -q -n 2 --hypothesis-profile=quick -m "not slow" tests/unit tests/contract

coverage: install ## Run the fast tests again, and report what they cover
	$(BIN)/python -m pytest -q -n 2 --cov --cov-report=term --hypothesis-profile=quick -m "not slow" tests/unit tests/contract

bench: install ## Compare speed and memory with the native clients; N=… timesheets
	@$(BIN)/python -m bench $(N)

lock: install ## Resolve dependencies anew, for the image (requirements.lock) and for the tests (requirements-dev.lock)
	@scripts/lock

docs: install ## Make the parts of the documents that are made from the code
	$(BIN)/python -m tests.support.documents

screenshots: install ## Make the pictures of the status page in docs/ anew
	@scripts/browser
	KIMAI_SCREENSHOTS=1 $(BIN)/python -m pytest -q tests/browser -k documents_show_it

clean: ## Remove what make and the tools made
	rm -rf .venv build *.egg-info .coverage* .hypothesis .*_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
