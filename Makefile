# Two commands do everything: `make demo` and `make test`. Needs Python >= 3.12 and make.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DURATION ?= 20
# Compiled modules are kept, whatever the shell says: tests start hundreds of short processes.
export PYTHONDONTWRITEBYTECODE :=
INPUT ?=

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

# The first Python >= 3.12 among the usual names; PYTHON=/path/to/python overrides.
define find_python
for p in $(PYTHON) python3.12 python3.13 python3.14 python3 python; do \
  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then echo "$$p"; exit 0; fi; \
done; \
echo "Tensor Pool needs Python 3.12 or newer and none was found on PATH." >&2; \
echo "Get one, for example:  uv python install 3.12   |   pyenv install 3.12   |   apt-get install python3.12-venv" >&2; \
echo "then run make again (or: make PYTHON=/path/to/python3.12 ...)." >&2; exit 1
endef

$(BIN)/python:
	@python=$$( $(find_python) ) || exit 1; echo "Creating $(VENV) with $$python"; "$$python" -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]' && touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -e '.[dev]' && touch $@ $(VENV)/.demo

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]' && touch $@ $(VENV)/.dev $(VENV)/.demo

demo: $(VENV)/.demo ## stream real images through leased shared memory; DURATION=20 INPUT=dir|file
	@$(BIN)/tensor-pool demo --duration $(DURATION) $(if $(INPUT),--input '$(INPUT)')

demo-bridge: $(VENV)/.demo ## carry images between two hosts, cut the wire, kill each bridge; PARTITION=8
	@$(BIN)/tensor-pool bridge demo --partition $(or $(PARTITION),8) $(if $(INPUT),--input '$(INPUT)')

lab-bridge: $(VENV)/.dev ## the bridge between real hosts: kills, partitions, narrow links, clocks; about 10 minutes, TIMES=1 (root)
	@for i in $$(seq $(or $(TIMES),1)); do \
	  $(BIN)/python -m pytest -q -x tests/bridge -m process || exit 1; \
	  $(BIN)/python -m pytest -q -x tests/bridge/lab_long.py || exit 1; \
	  $(BIN)/tensor-pool bridge demo || exit 1; done

# The web page is tested in a real browser. Without it those tests fail and name the packages.
# Asks before it installs: at a terminal with a question, with CI=true not at all.
BROWSER := chromium chromium-driver fonts-liberation
system-packages: ## install the browser that the tests need (apt-get, root or sudo), if it is missing
	@if command -v chromedriver >/dev/null && command -v chromium >/dev/null; then exit 0; fi; \
	sudo=""; [ "$$(id -u)" = 0 ] || sudo="sudo"; \
	install="$$sudo apt-get install --no-install-recommends $(BROWSER)"; \
	skip() { echo "$$1; the browser tests will fail. Install it with: $$install" >&2; exit 0; }; \
	command -v apt-get >/dev/null || skip "chromium and chromedriver are missing"; \
	if [ "$$CI" != true ]; then \
	  [ -t 0 ] || skip "chromium and chromedriver are missing, and there is no terminal to ask at"; \
	  read -r -p "The browser tests need chromium. Run '$$install'? [y/N] " answer; \
	  [[ "$$answer" = [yY]* ]] || skip "chromium was not installed"; \
	fi; \
	export DEBIAN_FRONTEND=noninteractive; \
	{ $$sudo apt-get update -qq && $$sudo apt-get install -y -qq --no-install-recommends $(BROWSER); } >/dev/null \
	  || skip "apt-get could not install chromium"

# The tests are compiled on the other processor while `make check` uses one.
tests-compiled: $(VENV)/.dev
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1 &

test: tests-compiled check system-packages ## check, then run all tests
	@$(BIN)/python -m pytest -n 4 --dist loadgroup --no-loadscope-reorder

test-rerun: $(VENV)/.dev ## what Rerun's own readers find; installs its SDK, 760 MB
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[rerun]'
	@$(BIN)/python -m pytest -q tests/cli/rerun_views.py

torch_guide := 'tests/docs/test_pages.py::test_every_snippet_of_a_page_runs_and_prints_what_the_page_shows[torch]'

test-torch: $(VENV)/.dev ## tensors, the dataset for DataLoader and their guide with torch itself; installs it, 5 GB
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[torch]'
	@$(BIN)/python -m pytest -q tests/client/torch_arrays.py tests/client/test_torch.py $(torch_guide) \
	  tests/docs/test_examples.py::test_frames_are_summed_and_a_missing_gpu_is_reported

test-jax: $(VENV)/.dev ## arrays of JAX and their guide with JAX itself; installs it, 500 MB
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check 'jax>=0.12'
	@$(BIN)/python -m pytest -q tests/client/jax_arrays.py $(torch_guide)

test-extras: $(VENV)/.dev ## install each extra into an empty environment and run its command; ONLY='tools zarr'
	@$(BIN)/python tests/extras.py $(ONLY)

check: $(VENV)/.dev ## format, lint, types and language
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && MYPYPATH=src $(BIN)/mypy -p tensor_pool
	@$(BIN)/python tests/language.py

test-matrix: ## run all tests on every Python from 3.12 on that is found; TESTS=tests/hsm
	@p=$$( $(find_python) ) || exit 1; "$$p" tests/matrix.py $(TESTS)

release-check: $(VENV)/.dev ## build and check what would be published; PROJECT_URL=https://... keeps it
	@$(BIN)/python tests/release.py --url '$(PROJECT_URL)'

schemas: $(VENV)/.dev ## write codecs and the message reference from schemas/*.xml
	@$(BIN)/python -m tensor_pool.schemas.generator.generate

reference: $(VENV)/.dev ## write the reference of commands, configuration and metrics
	@$(BIN)/python docs/reference/driver_pages.py && $(BIN)/python docs/reference/attach_refusals_page.py && $(BIN)/python docs/reference/conformance_page.py && $(BIN)/python docs/reference/cli_page.py

$(VENV)/.fuzz: pyproject.toml | $(BIN)/python
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[fuzz]' && touch $@

fuzz: $(VENV)/.fuzz ## fuzz decoders, URIs, superblocks, slots; RUNS=10000000 TARGET=uri
	@$(BIN)/python tests/fuzz/fuzz.py --runs $(or $(RUNS),600000) --target $(or $(TARGET),all)

docs: $(VENV)/.dev ## build the documentation into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet && echo "site/index.html"

docs-pictures: $(VENV)/.dev ## draw the sequence diagrams and the architecture into docs/pictures/
	@$(BIN)/python docs/pictures/generate.py

docs-screenshots: $(VENV)/.dev ## take the pictures of the web page with real processes; needs chromium
	@$(BIN)/python docs/images/web_page.py

diagrams: $(VENV)/.dev ## draw every machine class into diagrams/
	@$(BIN)/python diagrams/generate.py

soak: soak-torn soak-hsm soak-clients ## run everything that takes long, one after the other

soak-torn: $(VENV)/.dev ## look for torn frames between two processes, 60 s a size; SECONDS_EACH=60
	@$(BIN)/python tests/soak/torn_read.py --seconds $(or $(SECONDS_EACH),60)
	@$(BIN)/python tests/soak/torn_read.py --seconds $(or $(SECONDS_EACH),60) --batch

docs-hsm: $(VENV)/.dev ## write the state machine reference and its table of requirements
	@$(BIN)/python docs/hsm/generate.py

soak-hsm: $(VENV)/.dev ## compare three state machine engines; CASES=1000000
	@$(BIN)/python tests/hsm/oracle/soak.py --cases $(or $(CASES),1000000) --processes $(or $(PROCESSES),2)

soak-clients: $(VENV)/.dev ## clients, crashes and driver restarts for ten minutes; SECONDS=600
	@$(BIN)/python -m tests.soak.clients --seconds $(or $(SECONDS),600) --seed $(or $(SEED),1)

chaos: $(VENV)/.dev ## break a real deployment in every way; DURATION=300 SEED=1
	@$(BIN)/python -m tests.chaos --seconds $(if $(filter file,$(origin DURATION)),300,$(DURATION)) --seed $(or $(SEED),1)

field: $(VENV)/.dev ## a deployment of 3 cameras, 6 consumers, a recorder, and all that the world does to it; ROUNDS=3
	@$(BIN)/python -m tests.field --rounds $(or $(ROUNDS),3)

mutants: $(VENV)/.dev ## show that the tests notice wrong code; ONLY=lease
	@$(BIN)/python -m tests.mutants --only '$(ONLY)'

bench: $(VENV)/.bench ## how fast frames travel, beside other ways; ROUNDS=5
	@$(BIN)/python benchmarks/data_path.py --rounds $(or $(ROUNDS),5)
	@$(BIN)/python benchmarks/workloads.py --rounds $(or $(ROUNDS),5)
	@$(BIN)/python benchmarks/pipeline.py --rounds $(or $(ROUNDS),5)
	@$(BIN)/python benchmarks/many.py --rounds $(or $(ROUNDS),5)

bench-waiting: $(VENV)/.bench ## what a waiting consumer costs and how soon it wakes; SECONDS_EACH=60
	@$(BIN)/python benchmarks/waiting.py --seconds $(or $(SECONDS_EACH),60)

bench-synchronizer: $(VENV)/.bench ## what a Synchronizer costs per set; ROUNDS=15
	@$(BIN)/python benchmarks/synchronizer.py --rounds $(or $(ROUNDS),15)

bench-before: $(VENV)/.dev ## what a frame costs with the code of a commit and with that of now; COMMIT=HEAD ROUNDS=5
	@$(BIN)/python benchmarks/before_after.py $(or $(COMMIT),HEAD) --rounds $(or $(ROUNDS),5)

bench-bridge: $(VENV)/.bench ## how fast frames travel to another host, beside other ways; ROUNDS=5
	@$(BIN)/python benchmarks/bridge.py --rounds $(or $(ROUNDS),5)
	@$(BIN)/python benchmarks/bridge_cases.py

bench-publish: $(VENV)/.bench ## measure, and put the figures into README and docs; ROUNDS=5
	@$(BIN)/python benchmarks/data_path.py --rounds $(or $(ROUNDS),5) --save benchmarks/results/data_path.json
	@$(BIN)/python benchmarks/workloads.py --rounds $(or $(ROUNDS),5) --save benchmarks/results/workloads.json
	@$(BIN)/python benchmarks/pipeline.py --rounds $(or $(ROUNDS),5) --save benchmarks/results/pipeline.json
	@$(BIN)/python benchmarks/many.py --rounds $(or $(ROUNDS),5) --save benchmarks/results/many.json
	@$(BIN)/python benchmarks/hsm.py > benchmarks/results/hsm.txt
	@$(BIN)/python benchmarks/publish.py

bench-hsm: $(VENV)/.bench ## how fast state machines are, here and elsewhere
	@$(BIN)/python benchmarks/hsm.py

simulate: $(VENV)/.dev ## driver and clients in hostile worlds, from seeds; SEEDS=2000 STEPS=2000 FIRST=0
	@$(BIN)/python -m tests.simulation --seeds $(or $(SEEDS),2000) --steps $(or $(STEPS),2000) --first $(or $(FIRST),0)

simulate-exhaustive: $(VENV)/.dev ## every order of turns and timers, DEPTH=1 moves deeper than in the tests
	@$(BIN)/python -m tests.simulation.exhaustive $(or $(DEPTH),1)

coverage-matrix: $(VENV)/.dev ## which requirement is checked by which test
	@$(BIN)/python tests/coverage_matrix.py

clean: ## remove what the other commands made
	rm -rf $(VENV) .venv-3.* build dist *.egg-info site

.PHONY: help test-rerun test-torch test-jax test-extras demo field demo-bridge lab-bridge system-packages tests-compiled test check test-matrix release-check docs docs-pictures docs-screenshots bench bench-waiting bench-synchronizer bench-before bench-bridge bench-publish bench-hsm schemas reference fuzz diagrams soak soak-torn soak-clients chaos mutants docs-hsm soak-hsm simulate simulate-exhaustive coverage-matrix clean
