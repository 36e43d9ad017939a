# The two commands are `make demo` and `make test`; each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 3
# Two processes, each with whole files of tests: much of a test is one thread that traces or compiles.
TWO := -n 2 --dist loadfile

.PHONY: demo test lint docs quality serving benchmark clean

demo: $(VENV)/.applications
	$(PIP) --no-deps --require-hashes --requirement applications/demo-requirements.txt
	$(BIN)/python -m applications.demo

test: $(VENV)/.test
	$(BIN)/python -m pytest tests $(TWO)
	KERAS_BACKEND=jax $(BIN)/python -m pytest tests/layers tests/models $(TWO)

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports setup.cfg --no-cache

# The pages and the API reference, in site/.
docs: $(VENV)/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Against real data: `make quality DATA=directory`; see docs/results.md for what lies there.
quality: $(VENV)/.peers
	@test -n "$(DATA)" || { echo "make quality DATA=directory of the data sets (docs/results.md)"; exit 2; }
	$(PIP) --no-deps --require-hashes --requirement applications/demo-requirements.txt
	$(BIN)/python -m pytest tests $(TWO) -m slow
	$(MAKE) serving
	$(BIN)/python -m benchmarks.quality --data $(DATA)

# What leaves the package, in what TF Serving 2.20 is built from; VERSIONS are exported ones.
VERSIONS ?= $(wildcard saved_models/*/[0-9]*)
serving: $(VENV)/.test $(VENV)-2.20/.done
	@test -n "$(VERSIONS)" || { echo "no versions in saved_models/; run 'make demo' or give VERSIONS=..."; exit 2; }
	$(BIN)/python -m benchmarks.serving $(VERSIONS) --only older fuzz warmup threads \
	    --python $(VENV)-2.20/bin/python

# Nothing else should run meanwhile; about an hour on two cores. A missed goal does not end it.
benchmark: $(VENV)/.engines
	-$(BIN)/python -m benchmarks.speed --sizes minilm base
	-$(BIN)/python -m benchmarks.first_step
	-$(BIN)/python -m benchmarks.exports --sizes minilm base
	-$(BIN)/python -m benchmarks.decoding

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 10) <= v <= (3, 12) else f"Python 3.10 to 3.12 is needed, this is {v[0]}.{v[1]}; run: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
# The pip that Python 3.10 brings takes minutes to find versions that fit each other.
	$(PIP) --upgrade pip

# Each set of packages is installed once, and again when setup.cfg changes.
$(VENV)/.applications: $(VENV)/bin/python setup.cfg
	$(PIP) --editable '.[applications,server]'
	touch $@

$(VENV)/.test: $(VENV)/bin/python setup.cfg
	$(PIP) --editable '.[applications,server,tfds,hub,test]'
	touch $(VENV)/.applications $@

$(VENV)/.docs: $(VENV)/bin/python setup.cfg
	$(PIP) --editable '.[docs]'
	touch $@

$(VENV)/.peers: $(VENV)/.test
	$(PIP) torch==2.13.0
	$(PIP) --editable '.[applications,server,tfds,hub,test,peers]'
	touch $@

$(VENV)/.engines: $(VENV)/.peers
	$(PIP) --editable '.[applications,server,tfds,hub,test,peers,engines]'
	touch $@

$(VENV)-2.20/.done: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)-2.20
	$(VENV)-2.20/bin/pip install --quiet tensorflow==2.20.0 tensorflow-text==2.20.1
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-2.20 site *.egg-info
