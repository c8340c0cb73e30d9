# `make help` lists what there is. Everything happens in .venv; nothing else on the machine is touched.
# PYTHON names the interpreter for .venv (the first Python >= 3.11 found); WORKERS the processes that run tests.
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?=
WORKERS ?= 2
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: $(shell grep -hoE "^[a-z-]+:" $(MAKEFILE_LIST) | tr -d :)

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | awk -F '\t' '{printf "  %-21s %s\n", $$1, $$2}'

lavaland: $(VENV)/example  ## set up, then plan through lava its designer never saw; ARGS="--help" explains every setting
	$(BIN)/python -m examples.lavaland $(ARGS)

worlds: $(VENV)/example  ## families of maps by others: literal, careful and oracle, one table and one picture
	$(BIN)/python -m examples.worlds $(ARGS)

service-desk: $(VENV)/example  ## a support desk measured by how fast it closes: no grid, one table, one question, a rewrite
	$(BIN)/python -m examples.service_desk $(ARGS)

safety: $(VENV)/example  ## worlds with a written and a hidden reward: what five plans collect of both, one table and one picture
	$(BIN)/python -m examples.safety $(ARGS)

mixed-evidence: $(VENV)/example  ## a proxy, comparisons and the off-switch narrow one posterior
	$(BIN)/python -m examples.mixed_evidence $(ARGS)

biased-labels: $(VENV)/example  ## a labeller who likes to be agreed with: the leak into the reward, and its repair
	$(BIN)/python -m examples.biased_labels $(ARGS)

overoptimisation: $(VENV)/example  ## a reward learnt from comparisons, optimised harder and harder: promised, true, and where to stop
	$(BIN)/python -m examples.overoptimisation $(ARGS)

rollouts: $(VENV)/example  ## a driving simulator without a table: ice of which the reward said nothing, literal and careful drivers
	$(BIN)/python -m examples.rollouts $(ARGS)

best-of-n: $(VENV)/example  ## the best of n answers by a learnt reward: when does it pay to choose with care?
	$(BIN)/python -m examples.best_of_n $(ARGS)

goodhart: $(VENV)/example  ## written and meant reward under pressure, on worlds that drop and worlds that do not; four variants
	$(BIN)/python -m examples.goodhart $(ARGS)

process: $(VENV)/example  ## how far may an agent look ahead before it hacks, and what if its overseer errs? rewards paid by the step
	$(BIN)/python -m examples.process $(ARGS)

rooms: $(VENV)/example  ## what the state of a room says of what is wanted, beside penalties on change; one table and one picture
	$(BIN)/python -m examples.rooms $(ARGS)

side-effects: $(VENV)/example  ## impact measures of every weight beside the careful planner: box, vase, sushi; tables and one picture
	$(BIN)/python -m examples.side_effects $(ARGS)

value-of-information: $(VENV)/example  ## when is it worth asking rather than being careful? 400 Lavaland maps
	$(BIN)/python -m examples.value_of_information $(ARGS)

active-ird: $(VENV)/example  ## the long study of queries: test regret after greedy, random and no questions
	$(BIN)/python -m examples.studies.active_ird $(ARGS)

samplers: $(VENV)/example  ## one posterior, sampled in every way, beside the exact one
	$(BIN)/python -m examples.samplers $(ARGS)

cirl: $(VENV)/example  ## games in which only the human knows what is wanted, solved and played
	$(BIN)/python -m examples.cirl_games $(ARGS)

human-models: $(VENV)/example  ## what misjudging people costs, and what teaching adds
	$(BIN)/python -m examples.human_models $(ARGS)

lava-game: $(VENV)/example  ## a robot that may ask or be stopped, beside the careful and the literal plan
	$(BIN)/python -m examples.lava_game $(ARGS)

debate: $(VENV)/example  ## a judge who reads one leaf of a tree of claims: accuracy by depth, skill and what is hidden
	$(BIN)/python -m examples.debate $(ARGS)

off-switch: $(VENV)/example  ## an off-switch when both sides have secrets: the smallest game in which a bit makes a robot defer less
	$(BIN)/python -m examples.off_switch $(ARGS)

sweep: $(VENV)/example  ## a phase diagram of caution: 12,000 worlds on all cores, killed and resumed at will
	$(BIN)/python -m examples.sweep $(ARGS)

teaching: $(VENV)/example  ## does it pay to teach a robot? expert against best response; half an hour, --small for a look
	$(BIN)/python -m examples.studies.teaching $(ARGS)

lavaland-study: $(VENV)/example  ## the long study: thousands of maps, settings chosen on one set and reported on another
	$(BIN)/python -m examples.studies.lavaland $(ARGS)

ird-paper: $(VENV)/example  ## the IRD paper's study: four conditions, indicators and 50-dimensional features; about 15 minutes
	$(BIN)/python -m examples.studies.ird_paper $(ARGS)

correlated-study: $(VENV)/example  ## trusting a reward near a reference, beside where evidence could speak; a quarter of an hour
	$(BIN)/python -m examples.studies.correlated $(ARGS)

normalizers-study: $(VENV)/example  ## every normalizer of a proxy against exact enumeration: distance, time, scale
	$(BIN)/python -m examples.studies.normalizers $(ARGS)

goodhart-study: $(VENV)/example  ## the long study of pressure: drops by angle over thousands of random MDPs, with and without the early stop
	$(BIN)/python -m examples.studies.goodhart $(ARGS)

calibration: $(VENV)/example  ## the long study of calibration: every sampler over simulated designers, and wrong models
	$(BIN)/python -m examples.studies.calibration $(ARGS)

test: $(VENV)/test  ## set up, then run every check
	@$(MAKE) --no-print-directory --keep-going -j1 format-check lint types contract docs pytest

pytest: $(VENV)/test  ## tests, docstring examples and the programs in the documentation; ARGS="-k solve" selects
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

format: $(VENV)/test  ## lay out the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --select I .

format-check: $(VENV)/test
	$(BIN)/ruff format --check .

lint: $(VENV)/test  ## ruff
	$(BIN)/ruff check .

types: $(VENV)/test  ## pyright
	$(BIN)/pyright --pythonpath $(BIN)/python

contract: $(VENV)/test  ## imports point one way: cirl -> ird -> mdps
	$(BIN)/lint-imports

docs: $(VENV)/test  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

fuzz: $(VENV)/test  ## look for wrong numbers off every path, against plain NumPy; ARGS="--minutes 10 --seed 1 --only solve"
	$(BIN)/python -m fuzz $(ARGS)

fuzz-study: $(VENV)/test  ## the same on 100,000 problems: what docs/studies/fuzz.md reports
	$(BIN)/python -m fuzz --minutes 90 --only solve --problems 100000 --seed 12 $(ARGS)
	$(BIN)/python -m fuzz --minutes 90 --only visit plan end game risk --problems 20000 --seed 11 $(ARGS)

bench: $(VENV)/bench  ## run the project beside its peers and print ratios
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file $(ARGS) || exit 1; done

big-world: $(VENV)/example  ## one grid of nine million states over two devices; about 3 GB of memory
	$(BIN)/python benchmarks/bench_mesh.py --out benchmarks/results/mesh.md $(ARGS)

wheel: $(VENV)/test  ## build the wheel into dist/
	$(BIN)/hatchling build --target wheel

clean:  ## remove everything that the other targets made
	rm -rf $(VENV) build dist out site .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find mdps ird cirl examples tests benchmarks fuzz -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: a virtual environment, then what is installed in it.
$(VENV)/ready: constraints.txt
	@python='$(PYTHON)'; \
	for candidate in python3 python3.13 python3.12 python3.11 python; do \
		[ -z "$$python" ] || break; \
		if $$candidate -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; fi; \
	done; \
	[ -n "$$python" ] || { echo 'No Python >= 3.11 with venv was found; install one, or name it: make PYTHON=/path/to/python3' >&2; exit 1; }; \
	$$python -m venv --clear $(VENV)
	$(PIP) install --quiet --compile -c constraints.txt hatchling editables
	@touch $@

$(VENV)/example: $(VENV)/ready pyproject.toml
	$(PIP) install --quiet --compile --no-build-isolation -c constraints.txt -e '.[example]'
	@touch $@

$(VENV)/test: $(VENV)/ready pyproject.toml
	$(PIP) install --quiet --compile --no-build-isolation -c constraints.txt -e '.[test,docs]'
	@touch $@

$(VENV)/bench: $(VENV)/ready pyproject.toml
	$(PIP) install --quiet --compile --no-build-isolation -c constraints.txt -e '.[example,bench]'
	@touch $@
