# Each target is an alias of `tunebook VERB` (see `.venv/bin/tunebook --help`); `make` alone lists them.
# make turns every failure into exit code 2: scripts and schedulers should call tunebook itself.
PYTHON ?= python3
VENV ?= .venv
TUNEBOOK_CACHE ?= $(HOME)/.cache/tunebook
export TUNEBOOK_CACHE
export UV_CACHE_DIR ?= $(TUNEBOOK_CACHE)/uv
export PIP_CACHE_DIR ?= $(TUNEBOOK_CACHE)/pip

# A variable that no target knows would be ignored by make; here it is refused.
KNOWN := NAME SET SEED SEEDS STEPS TIER HARDWARE GPUS MODEL EVAL NEW FROM_RUN ROWS OVER KEEP RUN RUNS TASK BASE DATA OUT VENV PYTHON ARGS TUNEBOOK_CACHE GPU COUNT PRICE STORE ON MAX_COST HOST DRY IMAGE CPU IN FROM FIELDS GROUP TIME JSON SHOW WEIGHTS AGAINST SMOKE BESIDE
GIVEN := $(foreach v,$(.VARIABLES),$(if $(filter command line,$(origin $(v))),$(v)))
UNKNOWN := $(filter-out $(KNOWN) MAKEFLAGS CURDIR GNUMAKEFLAGS MAKEOVERRIDES -*-%,$(GIVEN))
ifneq ($(UNKNOWN),)
$(error unknown variable $(UNKNOWN). Known: $(KNOWN))
endif
# NAME from the environment (WSL exports one) is somebody else's, and so are GROUP and the like.
$(foreach v,NAME FROM TASK FIELDS GROUP TIME,$(if $(filter command line,$(origin $(v))),,$(eval $(v) :=)))
ifneq ($(filter recipe check data sweep plan bench verify launch,$(MAKECMDGOALS)),)
$(if $(NAME),,$(error NAME is missing: make $(firstword $(MAKECMDGOALS)) NAME=chat-lora))
endif
$(if $(filter-out 0 1,$(SMOKE)),$(error SMOKE is 1, to begin with a smoke test, or 0 (got $(SMOKE))))

quote = '$(subst ','\'',$(1))'
option = $(if $($(2)),--$(1) $(call quote,$($(2))))
SMOKE_OPTION = $(if $(filter 1,$(SMOKE)),--smoke) $(if $(filter 0,$(SMOKE)),--no-smoke)
OPTIONS = $(call option,set,SET) $(call option,hardware,HARDWARE) $(call option,gpus,GPUS) \
  $(call option,model,MODEL)
RUN_OPTIONS = $(OPTIONS) $(call option,seed,SEED) $(call option,steps,STEPS) $(call option,tier,TIER) \
  $(call option,rows,ROWS)
SWEEP_OPTIONS = $(RUN_OPTIONS) $(call option,over,OVER) $(call option,from-run,FROM_RUN) $(if $(filter 1,$(KEEP)),--keep)
RECIPE_OPTIONS = $(RUN_OPTIONS) $(call option,eval,EVAL) $(call option,from-run,FROM_RUN) \
  $(if $(filter 1,$(NEW)),--new) $(call option,store,STORE) $(call option,seeds,SEEDS) $(SMOKE_OPTION) $(call option,beside,BESIDE)
PLAN_OPTIONS = $(call option,set,SET) $(call option,hardware,HARDWARE) $(call option,model,MODEL) \
  $(call option,gpu,GPU) $(call option,count,COUNT) $(call option,price,PRICE)
LAUNCH_OPTIONS = $(PLAN_OPTIONS) $(call option,seed,SEED) $(call option,steps,STEPS) $(call option,eval,EVAL) \
  $(call option,store,STORE) $(call option,on,ON) $(call option,max-cost,MAX_COST) $(call option,image,IMAGE) \
  $(call option,host,HOST) $(if $(filter 1,$(DRY)),--dry) $(SMOKE_OPTION)
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

.PHONY: help setup recipe recipes sweep evaluate compare check plan bench verify data fork predict review results image shell launch fetch test lint lock
help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /make \1\t/' | expand -t 16
setup: $(VENV)/.tunebook-installed ## make .venv from requirements.lock (the other targets do it by themselves)
recipe: $(READY) ## train and evaluate: NAME= [SET= SEED= SEEDS= STEPS= TIER= HARDWARE= GPUS= MODEL= EVAL= NEW=1 FROM_RUN= ROWS= STORE= SMOKE=1|0 BESIDE= IN=docker]
	@$(TUNEBOOK) recipe $(call quote,$(NAME)) $(RECIPE_OPTIONS)
sweep: setup ## run a recipe over values, best chosen on dev: NAME= OVER="learning_rate=1e-4,2e-4" [KEEP=1 ROWS="train=200,test=500" SET= STEPS= FROM_RUN=]
	@$(TUNEBOOK) sweep $(call quote,$(NAME)) $(SWEEP_OPTIONS)
evaluate: setup ## a trained run again, or a model tuned elsewhere: RUN= or MODEL= TASK=kettlewick-intents [BASE= EVAL= TIER= BESIDE="other models"]
	@$(TUNEBOOK) evaluate $(if $(RUN),$(call quote,$(RUN))) $(call option,model,MODEL) $(call option,task,TASK) \
	  $(call option,base,BASE) $(call option,eval,EVAL) $(call option,tier,TIER) $(call option,beside,BESIDE)
compare: setup ## tuned models side by side on the same test rows: [RUNS="chat-lora/latest chat-full/latest"]
	@$(TUNEBOOK) compare $(foreach run,$(RUNS),$(call quote,$(run)))
recipes: setup ## list the recipes
	@$(TUNEBOOK) recipes
check: setup ## find what is wrong with a real run, on any machine: NAME= [SET= HARDWARE= GPUS= MODEL= JSON=1]
	@$(TUNEBOOK) check $(call quote,$(NAME)) $(OPTIONS) $(if $(filter 1,$(JSON)),--json)
plan: setup ## memory, hours and dollars of a real run, without a GPU: NAME= [GPU= COUNT= PRICE= SET= HARDWARE= MODEL=]
	@$(TUNEBOOK) plan $(call quote,$(NAME)) $(PLAN_OPTIONS)
bench: setup ## how fast a recipe trains here, in how much memory: NAME= [STEPS=12 WEIGHTS=random AGAINST=trl SET= TIER= HARDWARE= GPUS= MODEL=]
	@$(TUNEBOOK) bench $(call quote,$(NAME)) $(OPTIONS) $(call option,steps,STEPS) $(call option,tier,TIER) \
	  $(call option,weights,WEIGHTS) $(call option,against,AGAINST)
verify: setup ## a fresh run beside the published numbers: NAME= [TIER= SEED= HARDWARE= GPUS= STORE= SMOKE=1|0]
	@$(TUNEBOOK) verify $(call quote,$(NAME)) $(call option,tier,TIER) $(call option,seed,SEED) \
	  $(call option,hardware,HARDWARE) $(call option,gpus,GPUS) $(call option,store,STORE) $(SMOKE_OPTION)
launch: setup ## a real run on rented GPUs: NAME= ON=skypilot|slurm|kubernetes|ssh [GPU= COUNT= PRICE= MAX_COST= STORE= IMAGE= HOST= SMOKE=0 DRY=1]
	@$(TUNEBOOK) launch $(call quote,$(NAME)) $(LAUNCH_OPTIONS)
fetch: setup ## bring a run's small results from its store: RUN=chat-lora/latest STORE=
	@$(TUNEBOOK) fetch $(call quote,$(RUN)) $(call option,store,STORE)
image: ## build the container image [CPU=1 for one without CUDA]
	docker build --tag $(TAG) $(if $(filter 1,$(CPU)),$(CPU_ARGS)) --build-arg REVISION="$$(git describe --always --dirty)" .
shell: image ## a shell in the container [CPU=1]
	mkdir -p runs && $(DOCKER_RUN) --interactive --tty $(TAG) bash
data: setup ## render the rows of a recipe's dataset: NAME= [SHOW=20: what the model sees of them, TIER= SET= MODEL=]
	@$(TUNEBOOK) data $(call quote,$(NAME)) $(call option,show,SHOW) $(call option,tier,TIER) $(call option,set,SET) $(call option,model,MODEL)
fork: setup ## a recipe for your own rows: FROM=chat-lora NAME=my-task DATA=rows.jsonl [MODEL= TASK= FIELDS= GROUP= TIME=]
	@$(TUNEBOOK) fork $(call quote,$(FROM)) $(call quote,$(NAME)) $(call quote,$(DATA)) $(call option,model,MODEL) \
	  $(call option,task,TASK) $(call option,fields,FIELDS) $(call option,group,GROUP) $(call option,time,TIME)
predict: setup ## answer a file of new rows with a tuned model: RUN=chat-lora/latest DATA=new.csv OUT=answers.csv
	@$(TUNEBOOK) predict $(call quote,$(RUN)) $(call quote,$(DATA)) $(call quote,$(OUT))
review: setup ## which of two answers is better, read blind in the browser: RUN=chat-lora/latest
	@$(TUNEBOOK) review $(call quote,$(RUN))
results: setup ## fill cards and README from published results, after adding a finished run: [RUN=chat-lora/latest]
	@$(TUNEBOOK) results $(if $(RUN),$(call quote,$(RUN)))
test: setup ## run the tests [ARGS="-k prompt"]
	@$(VENV)/bin/python -m pytest $(ARGS)
lint: setup ## ruff and mypy
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check . && $(VENV)/bin/mypy && $(VENV)/bin/lint-imports --no-logo
lock: setup ## resolve requirements.lock anew
	@$(VENV)/bin/uv pip compile --universal --python-version 3.11 --extra dev --quiet --custom-compile-command "make lock" pyproject.toml -o requirements.lock
$(VENV)/.tunebook-installed: requirements.lock pyproject.toml scripts/set_up.sh
	@sh scripts/set_up.sh $(call quote,$(PYTHON)) $(call quote,$(VENV))
