# Copyright (c) 2026, the m3vit-pynq authors
# SPDX-License-Identifier: BSD-3-Clause
#
#   make demo    segment and measure depth of real frames on the emulated board
#   make test    all tests that need neither PyTorch nor a browser
#   make notebooks   execute the notebooks again
#
# Every target sets up what it needs. PyTorch is for training only.

VENV       ?= .venv
PY          = $(VENV)/bin/python
PIP         = $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check
TORCH      ?= torch==2.13.0
DEMO_ARGS  ?=
PYTEST_ARGS ?=

# pynq needs numpy<2, which has no wheels for Python 3.13 and newer.
FIND_PYTHON = for p in $(PYTHON) python3 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& echo $$p && exit 0; done; \
	echo "m3vit-pynq needs Python 3.10, 3.11 or 3.12 with venv: install one (Debian, Ubuntu: python3.11 python3.11-venv) or pass PYTHON=..." >&2; exit 1

.PHONY: help resources demo live test test-frames test-training test-pynq3 bench rtl lint format generate notebooks test-browser screenshots clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "also: bench lint format generate test-training test-pynq3 test-browser screenshots clean"

# One stamp for each set of extras; the package itself is installed editable.
$(VENV)/.base: setup.cfg setup.py pyproject.toml
	@python=$$($(FIND_PYTHON)) && { test -x $(PY) || $$python -m venv $(VENV); }
	$(PIP) --upgrade 'pip<26' 'setuptools>=64,<80' wheel
	$(PIP) --no-build-isolation -e '.[host]'
	@touch $@

$(VENV)/.demo: $(VENV)/.base
	$(PIP) --no-build-isolation -e '.[host,demo]'
	@touch $@

$(VENV)/.test: $(VENV)/.base
	$(PIP) --no-build-isolation -e '.[host,test]'
	@touch $@

$(VENV)/.train: $(VENV)/.test
	$(PIP) '$(TORCH)' 'numpy<2'
	$(PIP) --no-build-isolation -e '.[host,test,train]'
	@touch $@

demo: $(VENV)/.demo
	$(VENV)/bin/m3vit-pynq demo $(DEMO_ARGS)

test: $(VENV)/.test lint
	$(PY) -m m3vit_pynq.abi.generate --check
	$(PY) -m pytest --ignore tests/training --ignore tests/browser $(PYTEST_ARGS)

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/clang-format --dry-run --Werror $$(find hls_src m3vit_pynq tests -name '*.h' -o -name '*.cpp')

format: $(VENV)/.test
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/clang-format -i $$(find hls_src m3vit_pynq tests -name '*.h' -o -name '*.cpp')

# Headers, tables and .hwh files that are made from m3vit_pynq/abi.
generate: $(VENV)/.base
	$(PY) -m m3vit_pynq.abi.generate

# Every task of every shipped package on every board: HLS, fast engine and specification agree.
test-frames: $(VENV)/.test
	M3VIT_ALL_FRAMES=1 $(PY) -m pytest tests/hls/test_shipped_frames.py $(PYTEST_ARGS)

test-training: $(VENV)/.train
	$(PY) -m pytest tests/training $(PYTEST_ARGS)

# The live view as a page on this computer.
live: $(VENV)/.demo
	$(VENV)/bin/m3vit-pynq live $(LIVE_ARGS)

# The live notebooks in a real browser: on the current JupyterLab and Voilà, and on those of the boards' images.
BROWSER_LABS ?= 4 3
LAB4 = 'jupyterlab>=4,<5' 'ipywidgets>=8,<9' 'voila>=0.5,<0.6'
LAB3 = 'jupyterlab==3.4.4' 'ipywidgets==7.7.1' 'jupyterlab-widgets==1.1.1' 'jupyter-server<2' 'notebook<7' \
	'voila==0.3.6' 'nbconvert==6.5.0'

.venv-lab%/.ready: setup.cfg setup.py pyproject.toml Makefile
	@python=$$($(FIND_PYTHON)) && { test -x .venv-lab$*/bin/python || $$python -m venv .venv-lab$*; }
	.venv-lab$*/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip<26' 'setuptools>=64,<70' wheel
	.venv-lab$*/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation \
		-e '.[host,demo]' $(LAB$*) anywidget 'setuptools<70' 'pytest>=8' pytest-timeout playwright
	@touch $@

test-browser: $(BROWSER_LABS:%=.venv-lab%/.ready)
	@.venv-lab$(firstword $(BROWSER_LABS))/bin/python tests/browser/chromium.py
	for lab in $(BROWSER_LABS); do \
		.venv-lab$$lab/bin/python -m pytest tests/browser $(PYTEST_ARGS) || exit 1; \
	done

# docs/images/live.png and live-dark.png, of the live notebook with the shipped model.
screenshots: .venv-lab4/.ready
	.venv-lab4/bin/python tests/browser/screenshots.py

# Every notebook from top to bottom, stored with its pictures.
notebooks: $(VENV)/.demo $(VENV)/.test
	$(PIP) --no-build-isolation -e '.[host,demo,test]'
	$(PY) tools/execute_notebooks.py $(NOTEBOOKS)

# The driver on the pynq of the 3.x images.
test-pynq3: $(VENV)/.test
	for version in 3.1.2 3.0.1; do \
		test -x .venv-pynq-$$version/bin/python || $$($(FIND_PYTHON)) -m venv .venv-pynq-$$version; \
		.venv-pynq-$$version/bin/python -m pip install --quiet "pynq==$$version" 'pycparser<3' 'numpy<2' \
			'opencv-python-headless<4.12' 'setuptools<70' pytest pytest-timeout 'hypothesis>=6' tqdm ipywidgets \
		&& .venv-pynq-$$version/bin/python -m pytest tests/pynq $(PYTEST_ARGS) || exit 1; \
	done

# With PyTorch and ONNX Runtime to compare with; m3vit-pynq bench alone compares with what is there.
$(VENV)/.bench: $(VENV)/.demo
	$(PIP) '$(TORCH)' 'numpy<2'
	$(PIP) --no-build-isolation -e '.[host,demo,bench]'
	@touch $@

bench: $(VENV)/.bench
	$(VENV)/bin/m3vit-pynq bench $(BENCH_ARGS)

# Processes of hls_src through Bambu and Verilator, where bambu is on PATH; docs/rtl.md.
rtl: $(VENV)/.test
	$(PY) -m tools.rtl --write $(RTL_ARGS)

# Blocks that every board takes; the rules against what yosys infers (benchmarks/results/yosys.csv).
resources: $(VENV)/.test
	$(PIP) --no-build-isolation -e '.[host,test,resources]'
	$(PY) -m tools.resources --check
	$(PY) -c 'from m3vit_pynq.analysis.resources import board_table; print(board_table())'
	M3VIT_YOSYS=1 $(PY) -m pytest tests/resources/yosys $(PYTEST_ARGS)

clean:
	rm -rf build dist *.egg-info .pytest_cache .hypothesis .ruff_cache demo_output
