# `make help` lists what there is. Every target sets up what it needs, from Python and make alone.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
SPECTRO := $(BIN)/spectro

# UrbanSound8K if it is there, else the sample that the project synthesises. Never one folder for both.
REAL   := data/UrbanSound8K
SAMPLE := data/sample/UrbanSound8K
ifneq ($(wildcard $(REAL)/metadata/UrbanSound8K.csv),)
DATASET ?= $(REAL)
else
DATASET ?= $(SAMPLE)
endif
GIVEN := $(patsubst %/,%,$(DATASET))
ifeq ($(GIVEN),$(SAMPLE))
RENDERED ?= data/spectrograms/sample
else
RENDERED ?= data/spectrograms/$(shell echo $(notdir $(GIVEN)) | tr A-Z a-z)
endif

# More options: make train-fold 3 ARGS="--recipe blog"; those of rendering have a name of their own,
# as training renders what is missing first, and other pictures go elsewhere:
# make train-fold 3 RENDER_ARGS="--n-mels 64" RENDERED=data/spectrograms/mels64.
ARGS        ?=
RENDER_ARGS ?=
WEIGHTS     ?= auto
# What make demo fine-tunes: weights come with the environment, so that nothing is downloaded.
DEMO        ?= --recipe plain --arch tf_efficientnet_lite0 --batch-size 16 --epochs 3

# `make train-fold 3` says the same as `make train-fold N=3`.
ifeq (train-fold,$(firstword $(MAKECMDGOALS)))
NUMBER := $(filter-out train-fold,$(MAKECMDGOALS))
ifneq ($(NUMBER),)
N := $(NUMBER)
.PHONY: $(NUMBER)
$(NUMBER): ; @:
endif
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo sample data dataset check render-spectrograms pictures fold-named probe \
        lr-find train-fold cross-validate model report notebooks test test-slow test-all test-light lint types \
        docs bench-render bench-start bench-train bench-serve bench-scan clean

##@ To begin

help:  ## List the targets, in the order of use
	@awk -F ':.*## ' '/^##@ / {printf "%s%s\n", (n++ ? "\n" : ""), substr($$0, 5)} \
		/^[a-z-]+:.*## / {printf "  %-22s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "On data of your own: make check DATASET=my-sounds, and so every target on clips."
	@echo "More options: ARGS=\"--recipe plain\", and those of rendering RENDER_ARGS=\"--n-mels 64\" RENDERED=FOLDER."

setup: $(VENV)/ready  ## Make the environment in .venv

$(VENV)/ready: pyproject.toml constraints.txt $(wildcard packaging/sounds/pyproject.toml)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]' ./packaging/sounds
	@touch $@
	@echo "ready; for the command spectro in this shell: source $(VENV)/bin/activate"

demo: setup  ## Everything once, on the sample: synthesise, render, train fold 1, score, draw
	@$(MAKE) --no-print-directory sample
	$(SPECTRO) render $(SAMPLE) --out data/spectrograms/sample
	$(SPECTRO) train-fold data/spectrograms/sample --fold 1 $(DEMO) --weights $(WEIGHTS) \
		--run runs/demo $(ARGS)
	$(SPECTRO) predict runs/demo/fold1/model $(SAMPLE)/audio/fold1/*-8-*-0.wav --top 2
	@echo
	@echo "Open these:"
	@echo "  data/spectrograms/sample/examples.png     what the network sees"
	@echo "  runs/demo/report.html                     what it heard: scores, mistakes, sounds: make report"
	@echo "  notebooks/01-inspect-a-fold.ipynb         listen to its mistakes: make notebooks"
	@echo "Then, for the command spectro in this shell: source $(VENV)/bin/activate"

sample: setup  ## Synthesise the sample dataset
	@$(SPECTRO) sample data/sample

##@ Data and pictures

data: setup  ## Download UrbanSound8K (6.0 GB) to data; goes on where it broke off
	$(SPECTRO) fetch urbansound8k --to data $(ARGS)

dataset: setup
ifeq ($(GIVEN),$(SAMPLE))
	@echo "$(REAL) is not there: this uses the synthesised sample, $(SAMPLE); make data downloads it"
	@$(SPECTRO) sample data/sample
endif

# Status 3 means that some clips are broken and named: that is what was asked for.
check: dataset  ## Look for broken, silent, doubled and leaking clips
	@$(SPECTRO) check $(DATASET) $(ARGS) || [ $$? -eq 3 ]

render-spectrograms: dataset  ## Draw every clip as a PNG, a folder a fold
	$(SPECTRO) render $(DATASET) --out $(RENDERED) $(RENDER_ARGS)

# Status 3 means that some clips are broken and named; the others can be trained on.
pictures: dataset
	@$(SPECTRO) render $(DATASET) --out $(RENDERED) $(RENDER_ARGS) || [ $$? -eq 3 ]

##@ Training and results

probe: pictures  ## A first honest score of every fold, from a frozen network: a minute or two
	$(SPECTRO) probe $(RENDERED) --weights $(WEIGHTS) $(ARGS)

lr-find: pictures  ## Plot loss against learning rate, on training folds only
	$(SPECTRO) lr-find $(RENDERED) --weights $(WEIGHTS) $(ARGS)

fold-named:
	@[ -n "$(N)" ] || { echo "which fold? say: make train-fold 3" >&2; exit 2; }

train-fold: fold-named pictures  ## Train on all folds but N and score N: make train-fold 3
	$(SPECTRO) train-fold $(RENDERED) --fold $(N) --weights $(WEIGHTS) $(ARGS)

cross-validate: pictures  ## Train and score every fold that is there, resuming
	$(SPECTRO) cross-validate $(RENDERED) --weights $(WEIGHTS) $(ARGS)

model: setup  ## Train one network on all folds, after cross-validate; of another run: make model RUN=runs/NAME
	$(SPECTRO) train-final $(RUN) $(ARGS)

report: setup  ## Open the report of the run scored last; of another: make report RUN=runs/demo
	$(SPECTRO) report $(RUN) --open

notebooks: setup  ## Open the notebooks in this environment
	$(BIN)/jupyter lab notebooks

##@ For contributors

test: setup  ## Run the tests that take under 2 seconds each
	$(BIN)/python -m pytest -n auto --dist loadfile

test-slow: setup  ## Run the tests that take seconds, the notebooks, and real parts where they are there
	$(BIN)/python -m pytest -n auto --dist worksteal -m 'slow and not long' tests

test-all: setup  ## Run all tests, also those that take ten seconds to minutes each
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not gpu'

lint: setup  ## Check style, and that imports go one way
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## Check types
	$(BIN)/mypy

docs: setup  ## Build the documentation in docs/_build/html; asks no network
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

test-light: setup  ## Build wheel and sdist; test listening where nothing of training is installed
	.ci/light $(BIN)/python

bench-start: setup  ## Time spectro predict on one clip, the start of Python included
	$(BIN)/python benchmarks/start.py $(ARGS)

bench-render: setup  ## Time rendering against the classic recipe, side by side
	$(BIN)/python benchmarks/render.py $(ARGS)

bench-scan: setup  ## Time scans; recall and false alarms in a recording made for it (ARGS="MODEL --dataset D --fold N")
	$(BIN)/python benchmarks/scan.py $(ARGS)

bench-train: setup  ## Time training against plain fastai, side by side
	$(BIN)/python benchmarks/train.py $(ARGS)

bench-serve: setup  ## Time the service on loopback beside the bare ONNX call
	$(BIN)/python benchmarks/serve.py $(ARGS)

clean:  ## Remove what the targets made, but neither data/UrbanSound8K nor runs
	rm -rf $(VENV) data/sample data/lessons data/spectrograms docs/_build build *.egg-info
