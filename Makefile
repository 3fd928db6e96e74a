# Each target is the command `tunebook VERB`, and NAME=value one of its arguments or options: the console
# entry reads the words and refuses what it does not know. `make` alone lists the targets.
# make turns every failure into exit code 2: scripts and schedulers should call tunebook itself.
PYTHON ?= python3
VENV ?= .venv
TUNEBOOK_CACHE ?= $(HOME)/.cache/tunebook
export TUNEBOOK_CACHE
export UV_CACHE_DIR ?= $(TUNEBOOK_CACHE)/uv
export PIP_CACHE_DIR ?= $(TUNEBOOK_CACHE)/pip

VERBS := recipe recipes sweep verify bench check plan exercise advise data fork evaluate compare chat merge export serve publish predict review launch fetch results env
# Only what is typed after `make` counts: NAME, HOST and GROUP in the environment are somebody else's.
OWN := PYTHON VENV TUNEBOOK_CACHE UV_CACHE_DIR PIP_CACHE_DIR ARGS CPU IN
GIVEN := $(filter-out MAKEFLAGS CURDIR GNUMAKEFLAGS MAKEOVERRIDES -*-%,$(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v))))
WORDS := $(filter-out $(OWN),$(GIVEN))
ifneq ($(filter help setup image shell test lint lock audit docs notebooks,$(or $(MAKECMDGOALS),help)),)
$(if $(WORDS),$(error unknown variable $(WORDS). `make $(or $(firstword $(MAKECMDGOALS)),help)` takes: $(OWN)))
endif
# Set-up takes minutes: before it, the list in docs/commands.md says which variables a verb takes.
ifeq ($(wildcard $(VENV)/.tunebook-installed),)
VERB := $(filter $(VERBS),$(firstword $(MAKECMDGOALS)))
KNOWN := $(if $(VERB),$(shell awk '/^\#\#\# /{on = $$2 == "$(VERB)"} on' docs/commands.md | grep -o '`[A-Z_]*=' | tr -d '`=' | awk '!seen[$$0]++'))
UNKNOWN := $(if $(KNOWN),$(filter-out HELP $(KNOWN),$(WORDS)))
$(if $(UNKNOWN),$(error unknown variable $(UNKNOWN). `make $(VERB)` takes: $(KNOWN)))
endif
# A venv keeps its Python: naming another would be ignored.
ifneq ($(and $(filter python3.%,$(PYTHON)),$(wildcard $(VENV)/bin/python)),)
ifeq ($(wildcard $(VENV)/bin/$(PYTHON)),)
$(error $(VENV) has another Python than PYTHON=$(PYTHON). Give another folder: VENV=.venv$(subst .,,$(PYTHON:python%=%)))
endif
endif
# A recipe line of make ends where a value has a line break.
define BREAK


endef
BROKEN := $(strip $(foreach v,$(GIVEN),$(if $(findstring $(BREAK),$(value $(v))),$(v))))
$(if $(BROKEN),$(error $(BROKEN): has a line break. Give it in one line))
# make would run a $(...) in a value where it expands it; `value` does not, and neither may the environment.
$(if $(WORDS),$(eval unexport $(WORDS)))
quote = '$(subst ','\'',$(1))'
TUNEBOOK = $(VENV)/bin/tunebook
READY = setup

# The container. Runs land in runs/ as the person's own files; downloads stay on a volume.
TAG = tunebook$(if $(filter 1,$(CPU)),-cpu)
CPU_ARGS = --build-arg BASE_IMAGE=python:3.12-slim-bookworm --build-arg VENV=/opt/venv \
  --build-arg TORCH_BACKEND=cpu
DOCKER_RUN = docker run --rm --init --shm-size 8g --stop-timeout 120 $(if $(filter 1,$(CPU)),,--gpus all) \
  --volume tunebook-data:/data --volume '$(CURDIR)/runs:/data/runs' --user "$$(id -u):$$(id -g)" --env HOME=/tmp \
  $(addprefix --env ,HF_TOKEN WANDB_API_KEY $(addprefix AWS_,ACCESS_KEY_ID SECRET_ACCESS_KEY ENDPOINT_URL DEFAULT_REGION))
ifneq ($(IN),)
ifneq ($(IN) $(MAKECMDGOALS),docker recipe)
$(error IN=docker goes with make recipe only)
endif
TUNEBOOK = mkdir -p runs && $(DOCKER_RUN) $(TAG) tunebook
READY = image
endif

.PHONY: help setup $(VERBS) image shell test lint lock audit docs notebooks
help: ## list the targets
	@awk '/^##@ /{print "\n" substr($$0, 5)} /^[a-z]+:.*## /{split($$0, a, ":.*## "); printf "  make %-9s %s\n", a[1], a[2]}' $(firstword $(MAKEFILE_LIST))
	@printf '\nmake TARGET HELP=1 lists all variables of a target.\n'
##@ Run
recipe: $(READY) ## train, evaluate and report a recipe: NAME= [TIER= SET=]
sweep: setup ## try values, best chosen on dev: NAME= OVER="lora_r=8,32"
verify: setup ## a fresh run against the published metrics: NAME=
bench: setup ## training speed and memory on this machine: NAME=
##@ Look
recipes: setup ## list the recipes
check: setup ## find what is wrong with a real run, anywhere: NAME=
plan: setup ## memory, hours and dollars of a real run, no GPU: NAME=
exercise: setup ## ten exercises on fine-tuning, checked: [N=]
##@ Data
advise: setup ## what to try first with your rows, or not: DATA=x.csv
data: setup ## render a recipe's rows: NAME= [SHOW=20: as the model sees them]
fork: setup ## a recipe for your own data: FROM=chat-lora NAME= DATA=x.csv
##@ After training
evaluate: setup ## evaluate again: RUN=, or another model: MODEL= TASK=
compare: setup ## runs on the same test rows: [RUNS="a/latest b/latest"]
chat: setup ## talk to the fine-tuned model and its base: RUN=
merge: setup ## full weights from the adapter, measured again: RUN=
export: setup ## for vLLM, llama.cpp, Ollama: RUN= TO=gguf QUANT=q8_0
serve: setup ## an OpenAI-compatible endpoint: RUN= [ENGINE= PORT=]
publish: setup ## put it on the Hub; a dry run without SEND=1: RUN= REPO= [WHAT=]
predict: setup ## answer new rows: RUN= DATA=new.csv OUT=answers.csv
review: setup ## judge answers blind in the browser: RUN=
##@ Rented GPUs
launch: setup ## a real run: NAME= ON=skypilot|slurm|kubernetes|ssh [DRY=1]
fetch: setup ## bring a run's small results from its store: RUN= STORE=
##@ Maintain
results: setup ## publish a run and fill cards and README: [RUN=]
env: setup ## list the TUNEBOOK_* variables
setup: $(VENV)/.tunebook-installed ## make .venv (the others do it by themselves) [PYTHON=newest]
image: ## build the container image [CPU=1: without CUDA]
	docker build --tag $(TAG) $(if $(filter 1,$(CPU)),$(CPU_ARGS)) --build-arg REVISION="$$(git describe --always --dirty)" .
shell: image ## a shell in the container [CPU=1]
	mkdir -p runs && $(DOCKER_RUN) --interactive --tty $(TAG) bash
test: setup ## run the tests [ARGS= PYTHON=python3.12 VENV=.venv312]
	@$(VENV)/bin/python -m pytest $(ARGS)
lint: setup ## ruff, mypy and the import rules
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-logo
lock: setup ## resolve requirements.lock anew
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --extra dev --generate-hashes --quiet --custom-compile-command "make lock" pyproject.toml -o requirements.lock
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command "make lock" docs/requirements.in -o docs/requirements.txt
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet --custom-compile-command "make lock" docs/notebooks/requirements.in -o docs/notebooks/requirements.txt
docs: $(VENV)-docs/.installed ## build the guide: site/index.html
	@$(VENV)-docs/bin/python scripts/build_docs.py
notebooks: setup $(VENV)-notebooks/.installed ## run the notebooks of the guide [ARGS=qa]
	@$(VENV)-notebooks/bin/python scripts/write_notebooks.py --venv $(call quote,$(VENV)) $(ARGS)
audit: setup ## look the lock up in the databases of known holes
	@$(VENV)/bin/python scripts/audit.py
$(VENV)/.tunebook-installed: requirements.lock pyproject.toml scripts/set_up.sh
	@sh scripts/set_up.sh $(call quote,$(PYTHON)) $(call quote,$(VENV))
# The builder of the site and the runner of the notebooks have packages of their own, by hash, and need nothing else.
$(VENV)-docs/.installed: docs/requirements.txt
$(VENV)-notebooks/.installed: docs/notebooks/requirements.txt
$(VENV)-docs/.installed $(VENV)-notebooks/.installed:
	@sh scripts/set_up.sh $(call quote,$(PYTHON)) $(call quote,$(@D)) $< && touch $@
$(VERBS):
	@$(TUNEBOOK) make $@ $(foreach v,$(WORDS),$(call quote,$(v)=$(value $(v))))
.DEFAULT:
	@$(if $(wildcard $(VENV)/bin/tunebook),$(TUNEBOOK) make $@,echo 'no target $@; make lists them' >&2; exit 2)
