# %% [markdown]
# # Question answering, from a raw file to a served model
#
# The [case study](../guide/case-studies/question-answering.md) as a notebook that you can run on a
# laptop without a GPU. Members of a cooperative, Kettlewick, ask what its handbook says. A search
# (not part of this) finds the passage; the model has to quote the answer from it, or say that it is
# not there.
#
# The outputs are those of a run. `make notebooks` made them in a clean copy of this repository, on
# the CPU.
#
# Before you start: `make setup` in the repository, and `pip install openai` in the environment of
# this notebook. All commands are run from the repository's root:

# %%
# %cd ../..

# %% [markdown]
# ## 1. The raw file
#
# Each line is a question on a passage, with the answers that count as right. An empty list means
# that the passage does not contain the answer. It looks like [SQuAD
# 2.0](https://huggingface.co/datasets/rajpurkar/squad_v2), where the passage is called `context`.

# %% language="bash"
# wc -l datasets/kettlewick-handbook/source/train.jsonl
# head -n 2 datasets/kettlewick-handbook/source/train.jsonl
# grep -c '"answers": \[\]' datasets/kettlewick-handbook/source/train.jsonl

# %% [markdown]
# The last number is that of the questions without an answer.
#
# ## 2. A recipe for this file
#
# The column `passage` holds only the id of a passage, and `text` the passage itself, so `FIELDS=`
# says which is which. `GROUP=passage` keeps all questions on a passage in one split: otherwise the
# test would ask about passages that the model has learned.

# %% language="bash"
# make fork FROM=qa-lora NAME=my-handbook DATA=datasets/kettlewick-handbook/source/train.jsonl \
#   FIELDS="context=text" GROUP=passage

# %% [markdown]
# ## 3. Check and plan
#
# `check` looks for what would make the real run fail or mislead: leaks between splits, answers that
# are not in their passage, rows that are too long. It needs no GPU.

# %% language="bash"
# make check NAME=my-handbook

# %% [markdown]
# `plan` says what the real run would need on a GPU: memory, time and money.

# %% language="bash"
# make plan NAME=my-handbook GPU=l4

# %% [markdown]
# ## 4. Train and evaluate
#
# `TIER=trial` trains SmolLM2-135M-Instruct on the CPU. `STEPS=40` ends the training early, after
# less than one pass over the rows, and `EVAL=quick` evaluates on the dev split only. Leave both out
# for a result that you would report.

# %% language="bash"
# make recipe NAME=my-handbook TIER=trial STEPS=40 EVAL=quick

# %% [markdown]
# ## 5. The numbers
#
# `report.html` in the run's folder has everything with pictures and answers; `metrics.json` has the
# numbers for programs. A question with an answer and one without are different tasks, so look at
# them separately: a model that always abstains is right on every question without an answer.

# %%
import json

metrics = json.load(open("runs/my-handbook/latest/metrics.json"))
print(metrics["steps"], "steps")
print(metrics["rows"], metrics["split"], "questions on", metrics["groups"], "passages")
for name, measured in metrics["contenders"].items():
    f1 = measured["f1"]
    print(f"{name:24} f1 {f1['value']:6.1%}  ({f1['low']:.1%} to {f1['high']:.1%})")

# %% [markdown]
# `tuned` is the fine-tuned model. The contenders that begin with `base` are the base model with its
# plain prompt and with its best prompt. So few questions give wide intervals: this shows that the
# pipeline works, not how good the model will be.
#
# ## 6. Answer new questions in a batch
#
# In the format of the raw file, without `answers`. The passage does not say who painted the doors.

# %%
passage = (
    "The burrow at Mill Green has 24 doors. Doors 1 to 8 are heated in winter. "
    "A code has six digits and works for 30 minutes."
)
questions = ["Which doors are heated in winter?", "How long does a code work?", "Who painted the doors?"]
with open("runs/new-questions.jsonl", "w") as file:
    for question in questions:
        print(json.dumps({"text": passage, "question": question}), file=file)
print(len(questions), "questions in", file.name)

# %% language="bash"
# make predict RUN=my-handbook/latest DATA=runs/new-questions.jsonl OUT=runs/new-quotes.jsonl

# %%
for line in open("runs/new-quotes.jsonl"):
    row = json.loads(line)
    print(f"{row['question']:36} {row['predicted']}  (probability {row['predicted_score']:.2f})")

# %% [markdown]
# Check such answers yourself. The passage does not say who painted the doors: the right answer to the
# third question is `unanswerable`. A small model that was trained for minutes has learned to quote,
# not when to abstain; a low probability is a reason to look.
#
# ## 7. Merge
#
# The adapter becomes part of the base model's weights: one folder that transformers, vLLM and
# SGLang load. The merged model answers the same rows again, because merging can change answers.

# %% language="bash"
# make merge RUN=my-handbook/latest

# %% [markdown]
# ## 8. Serve
#
# In a terminal you would type `make serve RUN=my-handbook/latest`, and stop it with Ctrl-C. Here it
# runs in the background. `PORT=0` takes any free port; the server prints its address when it is
# ready.

# %%
import re
import subprocess

command = ["make", "serve", "RUN=my-handbook/latest", "PORT=0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/v1", line)))
print("ready:", address.startswith("http://127.0.0.1:"))

# %% [markdown]
# It speaks OpenAI's protocol, so any client does. The prompt has to look like those of the
# training: `system` and `prompt` in `datasets/my-handbook/dataset.yaml`.

# %%
from openai import OpenAI

client = OpenAI(base_url=address, api_key="none")
for question in questions:
    reply = client.chat.completions.create(
        model="my-handbook",
        messages=[
            {"role": "system", "content": "Answer from the passage."},
            {"role": "user", "content": f"{passage}\n\n{question}"},
        ],
        temperature=0,
        max_tokens=32,
    )
    print(f"{question:36} {reply.choices[0].message.content}")

# %% [markdown]
# Stop it:

# %%
from openai import APIConnectionError

server.terminate()
server.wait()
try:
    client.models.list()
except APIConnectionError:
    print("the server no longer answers")

# %% [markdown]
# ## The same on a GPU
#
# Only the training changes; everything else finds the run by its name.
#
# | step | here, on the CPU | on a GPU |
# |---|---|---|
# | base model | SmolLM2-135M-Instruct | Qwen3-1.7B |
# | check | `make check NAME=my-handbook` | the same |
# | plan | `make plan NAME=my-handbook GPU=l4` | the same, for the GPU that you have: `GPU=t4` |
# | train | `make recipe NAME=my-handbook TIER=trial STEPS=40 EVAL=quick` | `make recipe NAME=my-handbook` |
# | rent one | | `make launch NAME=my-handbook ON=skypilot STORE=s3://bucket/runs MAX_COST=5 DRY=1` |
# | public rows | | `make fork FROM=qa-lora NAME=my-squad DATA=rajpurkar/squad_v2` |
# | serve | `make serve RUN=my-handbook/latest` | the same, or with `ENGINE=vllm` |
