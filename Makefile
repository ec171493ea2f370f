# make lab    set everything up and open JupyterLab on the course
# make test   set everything up and check everything
# More: make live, make notebooks, make fuzz, make bench, make record, make modules, make constraints, make clean

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
PORT    ?= 8888
SHELL   := /bin/bash
SETTINGS := $(VENV)/share/jupyter/lab/settings
export JUPYTER_PLATFORM_DIRS := 1
export PYTHONDONTWRITEBYTECODE := 1

# One stamp per set of extras: the venv is made again only when what it is made from changes.
define install
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing. Try: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; $$($(PYTHON) --version) is here."; exit 1; }
	@if command -v uv >/dev/null; then \
		test -x $(BIN)/python || uv venv -q --python "$$(command -v $(PYTHON))" $(VENV); \
		VIRTUAL_ENV=$(VENV) uv pip install -q --compile-bytecode -c constraints.txt -e '.[$(1)]'; \
	else \
		test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "No venv could be made. Try: apt-get install python3-venv"; exit 1; }; \
		$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[$(1)]'; \
	fi
	@mkdir -p $(SETTINGS) && echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}' > $(SETTINGS)/overrides.json
	@touch $@
endef

$(VENV)/.lab: pyproject.toml constraints.txt
	$(call install,lab)

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,lab$(comma)test)
	@touch $(VENV)/.lab

comma := ,

lab: $(VENV)/.lab
	@echo "The course opens at the address that ends in 00-start-here.ipynb below; Ctrl-C ends it."
	$(BIN)/jupyter lab --notebook-dir=. --ip=127.0.0.1 --port=$(PORT) --ServerApp.allow_root=True \
		--LabApp.default_url=/lab/tree/notebooks/00-start-here.ipynb \
		$(if $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(BROWSER)),,--no-browser) $(LAB_ARGS)

test: $(VENV)/.test tools
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(PYTEST_ARGS)

# Programs from the distribution that some tests ask: installed where that is possible, else those tests are skipped and say so.
tools:
	@tests/tools.sh

# One story on a real kernel, now: fetches Debian's 6.1 kernel and QEMU where it can. Skipped, with the reason, where it cannot.
live: $(VENV)/.test
	@tests/tools.sh live
	KLPTEACH_LIVE=1 $(BIN)/pytest tests/test_vm.py -k "real_kernel_refuses"

notebooks: $(VENV)/.test
	$(BIN)/python tests/run_notebooks.py notebooks/*.ipynb
	$(BIN)/python -c 'from klpteach import simulate; from klpteach.views import figures; print(figures.svg(figures.reuse(simulate("reload"))), end="")' > notebooks/reuse.svg

fuzz: $(VENV)/.test
	KLPTEACH_MUTATIONS=10000 $(BIN)/pytest tests/test_robustness.py

bench: $(VENV)/.test
	$(BIN)/pip --version >/dev/null 2>&1 && $(BIN)/pip install -q -c constraints.txt -e '.[lab,test,bench]' || VIRTUAL_ENV=$(VENV) uv pip install -q -e '.[lab,test,bench]'
	$(BIN)/python benchmarks/bench.py

# What real kernels do, recorded anew: needs qemu-system-x86, gcc, apt; about 15 minutes.
record: $(VENV)/.test
	$(BIN)/python -m klpteach vm record --all

modules:
	$(MAKE) -C data/src

# Holds names and versions only, no addresses.
constraints:
	uv pip compile -q pyproject.toml --extra lab --extra test --universal --no-annotate --no-header -o constraints.txt

clean:
	rm -rf $(VENV) .hypothesis .mypy_cache .ruff_cache

.PHONY: lab test tools live notebooks fuzz bench record modules constraints clean
