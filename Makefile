# Each target is an alias of `tunebook VERB` (see `.venv/bin/tunebook --help`); `make` alone lists them.
# make turns every failure into exit code 2: scripts and schedulers should call tunebook itself.
PYTHON ?= python3
VENV ?= .venv
TUNEBOOK_CACHE ?= $(HOME)/.cache/tunebook
export TUNEBOOK_CACHE
export UV_CACHE_DIR ?= $(TUNEBOOK_CACHE)/uv
export PIP_CACHE_DIR ?= $(TUNEBOOK_CACHE)/pip

# A variable that no target knows would be ignored by make; here it is refused.
KNOWN := NAME SET SEED STEPS TIER HARDWARE GPUS MODEL EVAL NEW FROM_RUN RUN DATA OUT VENV PYTHON ARGS TUNEBOOK_CACHE
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v)))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS CURDIR GNUMAKEFLAGS MAKEOVERRIDES -*-%,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error unknown variable $(UNKNOWN). Known: $(KNOWN))
endif
# NAME from the environment (WSL exports one) is somebody else's.
ifneq ($(origin NAME),command line)
NAME :=
endif
ifneq ($(filter recipe check data,$(MAKECMDGOALS)),)
$(if $(NAME),,$(error NAME is missing: make $(firstword $(MAKECMDGOALS)) NAME=chat-lora))
endif

quote = '$(subst ','\'',$(1))'
option = $(if $($(2)),--$(1) $(call quote,$($(2))))
OPTIONS = $(call option,set,SET) $(call option,hardware,HARDWARE) $(call option,gpus,GPUS) \
  $(call option,model,MODEL)
RUN_OPTIONS = $(OPTIONS) $(call option,seed,SEED) $(call option,steps,STEPS) $(call option,tier,TIER) \
  $(call option,eval,EVAL) $(call option,from-run,FROM_RUN) $(if $(filter 1,$(NEW)),--new)
TUNEBOOK = $(VENV)/bin/tunebook

.PHONY: help setup recipe recipes check data predict results test lint lock
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16
setup: $(VENV)/.tunebook-installed ## make .venv from requirements.lock (the other targets do it by themselves)
recipe: setup ## train and evaluate: NAME= [SET= SEED= STEPS= TIER= HARDWARE= GPUS= MODEL= EVAL= NEW=1 FROM_RUN=]
	@$(TUNEBOOK) recipe $(call quote,$(NAME)) $(RUN_OPTIONS)
recipes: setup ## list the recipes
	@$(TUNEBOOK) recipes
check: setup ## find what is wrong with a real run, on any machine: NAME= [SET= HARDWARE= GPUS= MODEL=]
	@$(TUNEBOOK) check $(call quote,$(NAME)) $(OPTIONS)
data: setup ## render the rows of a recipe's dataset: NAME=
	@$(TUNEBOOK) data $(call quote,$(NAME))
predict: setup ## answer a file of new rows with a tuned model: RUN=chat-lora/latest DATA=new.csv OUT=answers.csv
	@$(TUNEBOOK) predict $(call quote,$(RUN)) $(call quote,$(DATA)) $(call quote,$(OUT))
results: setup ## fill cards and README from published results, after adding a finished run: [RUN=chat-lora/latest]
	@$(TUNEBOOK) results $(if $(RUN),$(call quote,$(RUN)))
test: setup ## run the tests [ARGS="-k prompt"]
	@$(VENV)/bin/python -m pytest $(ARGS)
lint: setup ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy
lock: setup ## resolve requirements.lock anew
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --extra dev --quiet --custom-compile-command "make lock" pyproject.toml -o requirements.lock
$(VENV)/.tunebook-installed: requirements.lock pyproject.toml scripts/set_up.sh
	@sh scripts/set_up.sh $(call quote,$(PYTHON)) $(call quote,$(VENV))
