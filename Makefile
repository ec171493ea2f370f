# make lab    set everything up and open JupyterLab on the course
# make test   set everything up and check everything but browsers
# make talk   the talk, live; make slides: the talk as one static page in build/slides. Both take SPEAKER=, EVENT=, DATE=, TITLE=
# make site   the whole course as static pages in build/site
# More: make test-browser, make test-hub, make test-binder, make test-dist, make test-debian, make test-versions,
#       make lite, make test-lite, make live, make live-proposals, make notebooks,
#       make badge OWNER=…, make fuzz, make mutants,
#       make bench, make bench-browser, make record, make modules, make constraints, make clean

VENV    := .venv
BIN     := $(VENV)/bin
PYTHON  ?= python3
PORT    ?= 8888
SHELL   := /bin/bash
SETTINGS := $(VENV)/share/jupyter/lab/settings
export JUPYTER_PLATFORM_DIRS := 1
export PYTHONDONTWRITEBYTECODE := 1

# One stamp per set of extras: the venv is made again only when what it is made from changes.
# On a terminal pip says what it collects, a line that is written over; else nothing but errors. What pip and uv complain
# of is kept aside: one line says what it comes to, and only what no line is known for is shown as it is. $(1): the extras; $(2): MB that they take.
define install
	@command -v $(PYTHON) >/dev/null || { echo "python3 is missing. Try: apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; $$($(PYTHON) --version) is here."; exit 1; }
	@test -w . || { echo "This folder cannot be written to, and $(VENV) belongs here. Try: git clone it to a folder of yours"; exit 1; }
	@test -x $(BIN)/python || test $(free) -ge $(2) || { echo "The disk is too full: $(free) MB are free in this folder, and the packages take up to $(2) MB."; exit 1; }
	@echo "Setting up $(VENV) with the Python packages of constraints.txt: about 2 minutes, once."
	@said=$$(mktemp) || exit 1; trap 'rm -f "$$said"' EXIT; if test -t 1; then quiet=; else quiet=-q; fi; if command -v uv >/dev/null; then \
		test -x $(BIN)/python || uv venv -q --python "$$(command -v $(PYTHON))" $(VENV); \
		VIRTUAL_ENV=$(VENV) uv pip install $$quiet --compile-bytecode -c constraints.txt -e '.[$(1)]' 2>"$$said"; \
	else \
		test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { echo "No venv could be made. Try: apt-get install python3-venv"; exit 1; }; \
		set -o pipefail; $(BIN)/pip install $$quiet --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[$(1)]' 2>"$$said" | \
			awk '/^Collecting/ { printf "\r\033[K%d packages: %s", ++n, $$2; fflush() } END { if (n) print "" }'; \
	fi || { \
		if test $(free) -lt 20 || grep -qi 'no space left' "$$said"; then echo "The disk is full. Make room ($(2) MB in all), then make goes on from here."; \
		elif grep -qE $(OFFLINE) "$$said"; then echo "No network: the Python packages come from PyPI. Once they are here, make needs none."; \
		else cat "$$said"; echo "The packages could not be installed; pip's or uv's own words stand above. make goes on from here the next time."; fi; exit 1; }
	@mkdir -p $(SETTINGS) && echo '{"@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": false}}' > $(SETTINGS)/overrides.json
	@touch $@
endef
free = "$$(df -Pk . | awk 'NR == 2 { print int($$4 / 1024) }')"
OFFLINE := 'Failed to establish a new connection|NewConnectionError|[Nn]ame resolution|dns error|Name or service not known|error sending request|Network is unreachable'

$(VENV)/.lab: pyproject.toml constraints.txt
	$(call install,lab,500)

$(VENV)/.test: pyproject.toml constraints.txt
	$(call install,lab$(comma)test$(comma)binder$(comma)disasm,1200)
	@touch $(VENV)/.lab

$(VENV)/.browser: pyproject.toml constraints.txt
	$(call install,lab$(comma)test$(comma)browser,1200)
	@touch $(VENV)/.lab

$(VENV)/.hub: pyproject.toml constraints.txt
	$(call install,lab$(comma)test$(comma)hub,1200)
	@touch $(VENV)/.lab

$(VENV)/.lite: pyproject.toml constraints.txt
	$(call install,lab$(comma)test$(comma)lite,1200)
	@touch $(VENV)/.lab

comma := ,

# What npm has and PyPI has not, by name and version, into a folder that git ignores.
NPM := build/npm
AXE := axe-core@4.14.1
PROXY := configurable-http-proxy@5.3.0
PYODIDE := pyodide@314.0.7
define npm
	@command -v npm >/dev/null || { echo "npm is missing. Try: apt-get install npm"; exit 1; }
	@mkdir -p $(NPM) && npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(NPM) $(1)
	@touch $@
endef

$(NPM)/.browser: Makefile
	$(call npm,$(AXE))

$(NPM)/.lite: Makefile
	$(call npm,$(PYODIDE))

$(NPM)/.hub: Makefile
	$(call npm,$(PROXY))

# Is there a browser to open? macOS always has one, and sets none of these.
SCREEN := $(or $(DISPLAY),$(WAYLAND_DISPLAY),$(BROWSER),$(filter Darwin,$(shell uname)))

lab: $(VENV)/.lab
	@echo "The course opens at the address that ends in 00-start-here.ipynb below; Ctrl-C ends it."
	@$(BIN)/jupyter lab --notebook-dir=. --ip=127.0.0.1 --port=$(PORT) --ServerApp.allow_root=True \
		--LabApp.default_url=/lab/tree/notebooks/00-start-here.ipynb \
		$(if $(SCREEN),,--no-browser) $(LAB_ARGS)

# A process a core, but no more than eight: each imports everything anew. IN_PARALLEL= runs one after the other.
IN_PARALLEL := -n logical --maxprocesses 8 --dist worksteal
test: $(VENV)/.test tools
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(IN_PARALLEL) $(PYTEST_ARGS)

# make lab and make test in a clean clone on a newer Debian, made here by mmdebstrap or debootstrap: on 13 as root, and as a
# user without a compiler; test-debian14 has Python 3.14.
test-debian test-debian13 test-debian14: export PYTEST_ARGS := $(PYTEST_ARGS)
test-debian: test-debian13 test-debian14
test-debian13:
	@tests/tools.sh debian
	@tests/debian.sh 13 user
	@tests/debian.sh 13 root
test-debian14:
	@tests/tools.sh debian
	@tests/debian.sh 14 user

# JupyterLab, Voila and the slides in the distribution's Chromium; what is not here is skipped, with the reason.
test-browser: $(VENV)/.browser
	@tests/tools.sh browser
	@$(MAKE) -s $(NPM)/.browser || echo "without npm's packages some of these tests are skipped"
	$(BIN)/pytest tests/browser $(PYTEST_ARGS)

# A JupyterHub on this machine and twenty readers who run notebook 05 at once; it takes 5 GB.
test-hub: $(VENV)/.hub
	@tests/tools.sh browser
	@$(MAKE) -s $(NPM)/.hub || echo "without npm's proxy this test is skipped"
	$(BIN)/pytest tests/hub -s $(PYTEST_ARGS)

# What Binder installs, installed by pip, and the course run with it.
test-binder: $(VENV)/.test
	KLPTEACH_BINDER=1 $(BIN)/pytest tests/test_binder.py $(PYTEST_ARGS)

# The oldest and the newest versions that pyproject.toml allows, each in a venv of its own: a part of the tests, and a notebook.
# What old packages say of new ones (matplotlib 3.9 of pyparsing) is not ours to mend.
VERSIONS := build/versions
PART := tests/files tests/views tests/test_cli.py tests/course/test_course.py
test-versions: test-oldest test-newest
test-oldest: $(VERSIONS)/uv
	$(call versions,lowest-direct)
test-newest: $(VERSIONS)/uv
	$(call versions,highest)
define versions
	$</bin/uv venv -q --clear --python "$$(command -v $(PYTHON))" $(VERSIONS)/$(1)
	VIRTUAL_ENV=$(VERSIONS)/$(1) $</bin/uv pip install -q --resolution $(1) -e '.[lab,test,disasm]'
	$(VERSIONS)/$(1)/bin/pytest -q $(IN_PARALLEL) -W ignore::DeprecationWarning $(PART) $(PYTEST_ARGS)
	$(VERSIONS)/$(1)/bin/jupyter nbconvert --log-level WARN --execute --to notebook --output-dir $(VERSIONS) notebooks/05-the-bug.ipynb
endef
$(VERSIONS)/uv:
	$(PYTHON) -m venv $@ && $@/bin/pip install -q --disable-pip-version-check uv || { rm -rf $@; exit 1; }

# The Binder badge of README for the account that holds the repository; REPO= and BRANCH= for another name or tag.
badge:
	@$(PYTHON) binder/badge.py '$(OWNER)' '$(REPO)' '$(BRANCH)'

# Wheel and sdist, built, checked by twine and installed into an empty venv.
test-dist: $(VENV)/.test
	KLPTEACH_DIST=1 $(BIN)/pytest tests/test_dist.py $(PYTEST_ARGS)

# What the title page says, set by make talk SPEAKER="…" EVENT="…" DATE="…" TITLE="…"; a line that is not set is not there.
talk slides: export KLPTEACH_TITLE := $(TITLE)
talk slides: export KLPTEACH_SPEAKER := $(SPEAKER)
talk slides: export KLPTEACH_EVENT := $(EVENT)
talk slides: export KLPTEACH_DATE := $(DATE)

# The talk, live: Enter goes on. The template asks the network for nothing.
# What Notebook 7 brings for itself complains in Voila.
VOILA_WITHOUT := --VoilaConfiguration.extension_denylist=@jupyter-notebook/lab-extension
talk: $(VENV)/.browser
	@echo "The talk opens at the address below; Ctrl-C ends it."
	JUPYTER_PATH=notebooks/slides $(BIN)/voila notebooks/talk.ipynb --template=klpteach --Voila.ip=127.0.0.1 $(VOILA_WITHOUT) --port=$(PORT) \
		$(if $(SCREEN),,--no-browser) $(VOILA_ARGS)

# The talk as one static page: no kernel, no network. CUT=20 builds the short one.
CUT := 40
slides: $(VENV)/.browser
	$(BIN)/python notebooks/slides/build.py build/slides --cut $(CUT)

# The whole course as static pages: no server, no kernel, no network. A quarter of an hour on two cores.
site: $(VENV)/.lab
	$(BIN)/python -m klpteach site build/site

# JupyterLite with the course, in build/lite: a recipe of which only the parts without a network are tested (make test-lite).
lite: $(VENV)/.lite
	$(BIN)/python binder/lite.py build/lite

test-lite: $(VENV)/.lite
	@$(MAKE) -s $(NPM)/.lite || echo "without npm's Pyodide one of these tests is skipped"
	KLPTEACH_LITE=1 $(BIN)/pytest tests/test_lite.py $(PYTEST_ARGS)

# Programs from the distribution that some tests ask: installed where that is possible, else those tests are skipped and say so.
tools:
	@tests/tools.sh

# One story on a real kernel, now: fetches Debian's 6.1 kernel and QEMU where it can. Skipped, with the reason, where it cannot.
live: $(VENV)/.test
	@tests/tools.sh live
	KLPTEACH_LIVE=1 $(BIN)/pytest tests/vm/test_vm.py tests/vm/test_live.py -k "real_kernel_refuses or built_here"

# Every proposal as a kernel: the first time three to ten minutes more for each release.
live-proposals: $(VENV)/.test
	@tests/tools.sh live
	KLPTEACH_LIVE=proposals $(BIN)/pytest tests/vm/test_live.py $(IN_PARALLEL)

notebooks: $(VENV)/.test
	$(BIN)/python tests/run_notebooks.py notebooks/*.ipynb
	$(BIN)/python -c 'from klpteach import simulate; from klpteach.views.figures.reuse import reuse; print(reuse(simulate("reload")).svg(), end="")' > notebooks/reuse.svg

# Bad input, and stories that nobody would think of.
fuzz: $(VENV)/.test
	KLPTEACH_MUTATIONS=10000 $(BIN)/pytest tests/test_robustness.py tests/test_robustness_recordings.py
	KLPTEACH_STORIES=5000 $(BIN)/pytest $(IN_PARALLEL) tests/model/test_random_stories.py
	KLPTEACH_ORDERS=10 $(BIN)/pytest tests/course/test_notebooks.py -k another_order

# Do the tests notice a small change to the library? Some 20 minutes of a core for 200 mutants. SEED=2 takes others.
SEED := 1
MUTANTS := 200
mutants: $(VENV)/.test
	$(BIN)/python tests/mutants.py --count $(MUTANTS) --seed $(SEED)

bench: $(VENV)/.test
	$(BIN)/pip --version >/dev/null 2>&1 && $(BIN)/pip install -q -c constraints.txt -e '.[lab,test,bench]' || VIRTUAL_ENV=$(VENV) uv pip install -q -e '.[lab,test,bench]'
	$(BIN)/python benchmarks/bench.py

# From a click to the changed picture, in JupyterLab and Chromium, beside three other ways to make a widget.
bench-browser: $(VENV)/.browser
	@tests/tools.sh browser
	$(BIN)/pip --version >/dev/null 2>&1 && $(BIN)/pip install -q -c constraints.txt -e '.[lab,test,browser,bench]' || VIRTUAL_ENV=$(VENV) uv pip install -q -e '.[lab,test,browser,bench]'
	$(BIN)/python benchmarks/browser.py --json build/browser.json

# What real kernels do, recorded anew: needs qemu-system-x86, gcc, apt; about 15 minutes.
record: $(VENV)/.test
	$(BIN)/python -m klpteach vm record --all
	$(BIN)/python -m klpteach vm record --proposals x86_64
	$(BIN)/python -m klpteach vm record --proposals ppc64le

modules:
	$(MAKE) -C data/src

# Holds names and versions only, no addresses.
constraints:
	uv pip compile -q pyproject.toml $(EXTRAS:%=--extra %) --universal --no-annotate --no-header -o constraints.txt
EXTRAS := lab test disasm zst browser binder hub lite

clean:
	rm -rf $(VENV) build .hypothesis .mypy_cache .ruff_cache

.PHONY: lab test test-browser test-hub test-binder test-dist test-debian test-debian13 test-debian14 test-versions test-oldest test-newest badge lite test-lite talk slides site tools live notebooks fuzz mutants bench bench-browser record modules constraints clean
