# Each target does its own set-up; on a bare machine `make test` is all there is to type.
PYTHON = .venv/bin/python
UV = 0.13.8
PARALLEL_SSH = 2.16.0

.PHONY: setup test soak lint bench lock clean

setup:
	scripts/setup

test:
	scripts/test

# Half an hour of random faults for the daemon over 100 hosts.
soak:
	FLEET_SOAK_S=1800 FLEET_SOAK_HOSTS=100 scripts/test -n 0 -s --timeout 2400 tests/e2e/test_daemon_soak.py

lint:
	scripts/setup --test
	$(PYTHON) -m ruff check
	$(PYTHON) -m ruff format --check
	$(PYTHON) -m mypy

bench:
	scripts/setup --test
	$(PYTHON) -m pip install -q --disable-pip-version-check parallel-ssh==$(PARALLEL_SSH) || \
		echo "no parallel-ssh here: bench/fanout goes on without it" >&2
	PYTHONPATH=tests $(PYTHON) bench/startup.py
	PYTHONPATH=tests $(PYTHON) bench/first_sight.py
	PYTHONPATH=tests $(PYTHON) bench/steady_state.py
	PYTHONPATH=tests $(PYTHON) bench/fanout.py
	PYTHONPATH=tests $(PYTHON) bench/daemon.py

# Pins for everything, made from what the two pyproject.toml and requirements-dev.in ask for. hatchling and
# editables install the two packages in place.
COMPILE = $(PYTHON) -m uv pip compile -q --universal --python-version 3.11 --generate-hashes --upgrade \
	--no-emit-package fleet-sessions-agent --custom-compile-command 'make lock' pyproject.toml agent/pyproject.toml
lock:
	scripts/setup
	$(PYTHON) -m pip install -q --disable-pip-version-check uv==$(UV)
	printf 'hatchling\neditables\n' | $(COMPILE) - -o requirements.txt
	$(COMPILE) -c requirements.txt requirements-dev.in -o requirements-dev.txt
	$(PYTHON) -m uv pip compile -q --universal --python-version 3.10 --generate-hashes --upgrade --no-annotate \
		--no-emit-package fleet-sessions-agent --custom-compile-command 'make lock' \
		agent/pyproject.toml -o src/fleet/bootstrap/requirements.txt

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
