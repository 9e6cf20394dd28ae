# Two commands need nothing but Python 3.11 and this folder: `make demo` and `make test`.
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
PYTHON ?= python3
# The suite's own knobs: make test PYTEST="-k submit"; CLIPSPOOL_TEST_PATIENCE=10 lengthens every deadline (4 unless set).
PYTEST ?=
# Every journey starts processes: without compiled modules each of them takes half a second longer.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test quick slow lint docs man format faults mutants bench service nas wheel deb image release \
	packages clean

help:  ## this list
	@sed -nE 's/^([a-z]+):.*  ## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/run  ## one clip through everything on this machine, at no cost
	@$(BIN)/clipspool demo

test: $(VENV)/programs $(VENV)/dev $(VENV)/sdk/4.18 $(VENV)/sdk/5.24  ## all tests but the slow ones
	$(BIN)/pytest -n 4 --dist worksteal $(PYTEST)

# The rules alone: within a minute, for the inner loop.
quick: $(VENV)/dev  ## the rules alone, within a minute
	$(BIN)/pytest -q -n 2 tests/rules $(PYTEST)

# What `make test` leaves out because each test takes more than ten seconds: some five minutes.
slow: $(VENV)/programs $(VENV)/dev  ## the tests that take more than ten seconds each
	$(BIN)/pytest -n 4 --dist worksteal -m slow $(PYTEST)

lint: $(VENV)/dev  ## ruff, mypy, the arrows between the rooms, dead code, the documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# The documentation in the browser, written anew at every change.
docs: $(VENV)/dev  ## the documentation in the browser
	$(BIN)/python docs/made.py
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# Manual pages into build/man: `man -l build/man/clipspool.1`.
man: $(VENV)/dev  ## manual pages into build/man
	$(BIN)/python docs/man.py build/man

# What is published, in dist/. Every file inside gets this time, so that the same sources give the same bytes.
DIST ?= dist
SOURCE_DATE_EPOCH ?= $(or $(shell git log -1 --format=%ct 2>/dev/null),1767225600)
export SOURCE_DATE_EPOCH

# Wheel and sdist, with manual pages and documentation; a few seconds.
wheel: man $(VENV)/release  ## wheel and sdist, in dist/
	rm -f $(DIST)/clipspool-*.whl $(DIST)/clipspool-*.tar.gz
	$(BIN)/python -m hatchling build -d $(DIST)

# A package for Debian, with its own environment in /opt/clipspool; a minute. DEBIAN=13 makes one for trixie.
DEBIAN ?= 12
deb: wheel  ## the Debian package, in dist/
	rm -f $(DIST)/clipspool_*.deb
	$(BIN)/python packaging/deb.py --debian $(DEBIAN) $(DIST)

# A container image as an OCI archive, made by mmdebstrap (root); two minutes.
image: wheel  ## the container image, in dist/ (root)
	rm -f $(DIST)/clipspool-*.oci.tar
	$(BIN)/python packaging/image.py --debian $(DEBIAN) $(DIST)

# All that is published: the packages, constraints.txt, a bill of materials and checksums.
release: deb image  ## all that is published, in dist/ (root)
	rm -f $(DIST)/*.cdx.json
	$(BIN)/python packaging/release.py $(DIST)

# The fault bench: faults, planted bugs, and kill -9, power cuts and errors at the calls of a clip's life.
# It fits itself into 55 minutes: FAULTS="--minutes 15" draws points and bugs by lot, FAULTS="--seed N" repeats. Then the
# farm's state machine makes a million steps (FAULTS="--farm-steps 10000": so many), 20 to 30 minutes on two cores.
FAULTS ?=
faults: $(VENV)/dev  ## the fault bench
	$(BIN)/python tests/faults/bench.py $(FAULTS)

# The ground tiers, each on a real system of its own; they need root, and keep what is slow to make in
# ~/.cache/clipspool-ground ($CLIPSPOOL_GROUND_CACHE). GROUND="-k reload" chooses, GROUND=-s tells each step.
GROUND ?=

# systemd as PID 1 in a container: install, journeys, every command, reload, watchdog, kill, remove. Some 8 minutes,
# and 5 more the first time.
service: $(VENV)/dev  ## a real systemd in a container (root)
	$(BIN)/pytest -m ground $(GROUND) tests/ground/service

# One-line mutations of the paid path, drawn by lot; a survivor is a missing test. 60 of them take some 45 minutes.
MUTANTS ?=
mutants: $(VENV)/programs $(VENV)/dev  ## one-line mutations of the paid path
	$(BIN)/python tests/faults/mutants.py $(MUTANTS)

# A kernel's NFS 3, NFS 4.2 and SMB 3.1.1 with two clients each, in a virtual machine without KVM: claims, journeys of
# two daemons, take-over, kill -9, a farm. GROUND="-k nfs42" takes one protocol, some 12 minutes; GROUND=-s shows what
# came out. Some 30 minutes, and 3 more the first time.
nas: $(VENV)/dev  ## a kernel's NFS and SMB in a virtual machine (root)
	$(BIN)/pytest -m ground $(GROUND) tests/ground/nas

# All of them really built, compared and installed: by pip and uv, on a Debian with systemd, by crun. Some 15 minutes, and
# 5 more the first time.
packages: $(VENV)/release  ## what is published, built, compared and installed (root)
	$(BIN)/pytest -m ground $(GROUND) tests/ground/packages

# Against what people use instead, an hour: BENCH="rescan commands" takes rows, BENCH_REPEATS=5 repeats all
# of them so often.
BENCH ?=
NODE_RED := $(VENV)/node-red/node_modules/.package-lock.json
bench: $(VENV)/bench-programs $(VENV)/bench-group $(VENV)/peers $(NODE_RED)  ## the benchmarks
	PYTHONPATH=tests $(BIN)/python -m bench $(BENCH)

format: $(VENV)/dev  ## ruff's formatter
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove what make made
	rm -rf $(VENV)

$(VENV)/run: pyproject.toml constraints.txt
ifdef UV
	@echo "Installing clipspool and its libraries into $(VENV), once (170 MB)."
	@$(UV) venv --quiet --allow-existing --python '>=3.11' $(VENV)
	@$(UV) pip install --python $(BIN)/python -c constraints.txt -e .
else
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; another one: make PYTHON=python3.13 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "Python's venv is missing. On Debian and Ubuntu: apt-get install -y python3-venv"; exit 1; }
	@echo "Installing clipspool and its libraries into $(VENV), once (170 MB; a minute or two)."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install -c constraints.txt -e .
endif
	@touch $@

$(VENV)/programs: tests/programs.sh | $(VENV)/run
	sh tests/programs.sh
	@touch $@

$(VENV)/dev: $(VENV)/run
ifdef UV
	$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --group dev --group docs
else
	$(BIN)/python -m pip install --quiet -c constraints.txt --group dev --group docs
endif
	@touch $@

# What builds a release, and what its tests install with.
$(VENV)/release: | $(VENV)/dev
ifdef UV
	$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --group release
else
	$(BIN)/python -m pip install --quiet -c constraints.txt --group release
endif
	@touch $@

# What draws the bench's plots.
$(VENV)/bench-group: | $(VENV)/dev
ifdef UV
	$(UV) pip install --quiet --python $(BIN)/python -c constraints.txt --group bench
else
	$(BIN)/python -m pip install --quiet -c constraints.txt --group bench
endif
	@touch $@

$(VENV)/bench-programs: tests/programs.sh | $(VENV)/run
	sh tests/programs.sh bench
	@touch $@

# What the bench's contestants are made of besides.
$(VENV)/peers: | $(VENV)/dev
ifdef UV
	$(UV) pip install --quiet --python $(BIN)/python --target $@ 'runwayml==4.18.*' 'huey>=3,<4' 'watchdog>=6,<8'
else
	$(BIN)/python -m pip install --quiet --target $@ 'runwayml==4.18.*' 'huey>=3,<4' 'watchdog>=6,<8'
endif
	@touch $@

# npm writes this file last.
$(NODE_RED): | $(VENV)/bench-programs
	npm install --silent --no-audit --no-fund --prefix $(VENV)/node-red 'node-red@4'

# The official SDK as an independent client of the sandbox: two versions, each in a folder of its own.
$(VENV)/sdk/%: | $(VENV)/dev
ifdef UV
	$(UV) pip install --quiet --python $(BIN)/python --target $@ 'runwayml==$*.*'
else
	$(BIN)/python -m pip install --quiet --target $@ 'runwayml==$*.*'
endif
	@touch $@
