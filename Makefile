# Everything runs in .venv, which is made from requirements.txt the first time it is needed.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
READY := $(VENV)/.ready
SITE := _build/html
# Paths and files are UTF-8, whatever the locale says.
export PYTHONUTF8 := 1

.DEFAULT_GOAL := help
.PHONY: help book test serve lab scoreboard new chapter export lint check-site slides answers bench bench-record experiments reproducible fuzz mutants newest clean test-site pdf screenshots

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; %s is %s" % (sys.executable, sys.version.split()[0]) if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) cannot make virtual environments; on Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $(READY)

book: $(READY) ## build the site, warnings as errors, and print where it is
	$(RUN) tools/notebooks.py
	$(RUN) tools/build.py

test: $(READY) lint ## everything that a change is judged by
	$(RUN) -m pytest -q
	$(RUN) tools/notebooks.py
	$(RUN) tools/scoreboard.py --check
	$(RUN) tools/loose_numbers.py

lint: $(READY)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) tools/exports.py --check

new: $(READY) ## begin a chapter that passes every check: make new C=name T="Its title"
	@$(RUN) tools/new_chapter.py "$(C)" "$(T)"

export: $(READY) ## write the notebooks' exported cells to deepseek_explained/
	$(RUN) tools/exports.py

scoreboard: $(READY) ## record what the notebooks derive now
	$(RUN) tools/notebooks.py
	$(RUN) tools/scoreboard.py

chapter: $(READY) ## export, lint, test, run and build one chapter: make chapter C=budget
	@test -f "notebooks/$(C).ipynb" || { echo "usage: make chapter C=NAME, with NAME one of: $(basename $(notdir $(wildcard notebooks/*.ipynb)))"; exit 2; }
	$(RUN) tools/exports.py
	$(RUN) -m ruff check notebooks/$(C).ipynb
	$(RUN) -m pytest -q $(wildcard tests/test_$(C)*.py) tests/test_book.py
	$(RUN) tools/notebooks.py --force $(C)
	$(RUN) tools/build.py --update $(C)

check-site: $(READY) ## check the built site: pages there and not shrunken, links, sizes, policies
	$(RUN) tools/check_site.py $(SITE)

slides: book ## slides of each chapter, as HTML and (with Chromium) PDF
	$(RUN) tools/classroom.py slides

answers: book ## all exercises with what their solutions printed
	$(RUN) tools/classroom.py answers

$(VENV)/.ready-site: $(READY) requirements-site.txt
	$(RUN) -m pip install --quiet --disable-pip-version-check -r requirements-site.txt
	@touch $@

test-site: $(VENV)/.ready-site ## check every page in a real browser: accessibility, phone, dark, keyboard, search
	@$(RUN) tools/browser.py
	@test -f $(SITE)/index.html || $(MAKE) book
	$(RUN) -m pytest -q tests/site

pdf: $(VENV)/.ready-site ## print the whole book to _build/book.pdf
	@$(RUN) tools/browser.py
	@test -f $(SITE)/index.html || $(MAKE) book
	$(RUN) tools/pdf.py

screenshots: $(VENV)/.ready-site ## every page on desktop and phone, light and dark, in _build/screenshots
	@$(RUN) tools/browser.py
	@test -f $(SITE)/index.html || $(MAKE) book
	$(RUN) tools/screenshots.py

serve: book ## build the site and serve it at http://localhost:8000
	$(RUN) tools/serve.py $(SITE)

lab: $(READY) ## JupyterLab on the notebooks
	$(RUN) -m jupyter lab notebooks

bench: $(READY) ## measure speed, beside the last recorded; a notebook over its limit fails (gpu.py refuses without a GPU)
	@for benchmark in $(filter-out benchmarks/keep.py,$(wildcard benchmarks/*.py)); do echo "== $$benchmark"; $(RUN) $$benchmark || [ $$benchmark = benchmarks/gpu.py ] || exit 1; done

bench-record: ## make what `make bench` measured the record that the next is compared with
	cp _build/bench.json benchmarks/recorded.json

experiments: $(READY) ## run what is too long for a notebook and record it (about an hour)
	@for experiment in $(filter-out experiments/recording.py,$(wildcard experiments/*.py)); do echo "== $$experiment"; $(RUN) $$experiment || exit 1; done

reproducible: $(READY) ## run every notebook a second time: the same outputs, byte for byte, but for timings
	$(RUN) tools/reproducible.py

fuzz: $(READY) ## ten thousand cases of every property in tests/test_fuzz.py (about half an hour)
	$(RUN) -m pytest -q tests/test_fuzz.py --hypothesis-profile=many

mutants: $(READY) ## change the modules in three thousand places and see that their tests notice (half an hour, on a busy machine more)
	$(RUN) tools/mutants.py

newest: ## the same tests with the newest versions of everything, in an environment of its own
	$(PYTHON) -m venv _build/newest
	sed -E 's/^(jupyter-book)==.*/\1<2/; s/^([a-z-]+)==.*/\1/' requirements.txt > _build/newest/requirements.txt
	_build/newest/bin/python -m pip install --quiet --disable-pip-version-check --upgrade -r _build/newest/requirements.txt
	_build/newest/bin/python -m pytest -q
	_build/newest/bin/python -m pytest -q --nbmake --nbmake-timeout=150 notebooks

clean: ## remove what was built, but not the environment
	rm -rf _build
