# %% [markdown] tags=["trial"]
# # Text classification, from a raw file to a served model
#
# The [case study](../guide/case-studies/text-classification.md) as a notebook that you can run on a
# laptop without a GPU. A lending cooperative, Kettlewick, sorts its members' messages into fourteen
# desks, such as `linger` (keep a thing longer) and `odd_sock` (a part is missing). We fine-tune a
# small model on messages that people have sorted, look at how good it is, and serve it.
#
# The outputs are those of a run. `make notebooks` made them in a clean copy of this repository, on
# the CPU.

# %% [markdown] tags=["t4"]
# # Text classification on a free T4, from a raw file to a served model
#
# Colab: Runtime > Change runtime type > T4 GPU. Kaggle: Settings > Accelerator > GPU T4, Internet
# on. The first cell clones and sets up, which takes minutes. After a disconnect, run the cells
# again: the training resumes where it was if the disk is still there.
#
# It is the classification notebook with the commands of the real tier: Qwen3-1.7B instead of the
# 135M model, all epochs, and the test split. **Not run on a T4 yet**, so there are no outputs here.

# %% tags=["t4"] language="bash"
# set -e
# git clone -q https://github.com/YOUR-NAME/tunebook  # your fork
# cd tunebook
# make setup
# pip install -q openai

# %% tags=["t4"]
# %cd tunebook

# %% [markdown] tags=["trial"]
# Before you start: `make setup` in the repository, and `pip install openai` in the environment of
# this notebook. All commands are run from the repository's root:

# %% tags=["trial"]
# %cd ../..

# %% [markdown]
# ## 1. The raw file
#
# Each line of the file is a message with the desk that it belongs to. It looks like the files of
# public datasets: [banking77](https://huggingface.co/datasets/mteb/banking77) also has a column
# `text` and a label. The column `customer` says who wrote it; one customer wrote several messages.

# %% language="bash"
# wc -l datasets/kettlewick-intents/source/train.jsonl
# head -n 3 datasets/kettlewick-intents/source/train.jsonl

# %% [markdown]
# ## 2. A recipe for this file
#
# `fork` copies a recipe for your data. It recognises the columns, splits the rows and checks the
# result. All messages of a customer stay in one split, so that the model is never tested on a
# customer whom it knows from training.

# %% language="bash"
# make fork FROM=classify-lora NAME=my-desk DATA=datasets/kettlewick-intents/source/train.jsonl

# %% [markdown]
# Read the lines of `fields`: `text` and `label` are learned, `customer` decides the splits, and
# `tone` is not used. If `fork` took the wrong column, name the right one: `FIELDS="text=... label=..."`.
#
# ## 3. Check and plan
#
# `check` looks for what would make the real run fail or mislead: unknown keys, leaks between
# splits, secrets, rows that are too long. It needs no GPU.

# %% tags=["trial"] language="bash"
# make check NAME=my-desk

# %% tags=["t4"] language="bash"
# make check NAME=my-desk HARDWARE=t4-16gb

# %% [markdown]
# `plan` says what the real run would need on a GPU: memory, time and money.

# %% language="bash"
# make plan NAME=my-desk GPU=t4

# %% [markdown] tags=["trial"]
# ## 4. Train and evaluate
#
# `TIER=trial` trains SmolLM2-135M-Instruct on the CPU. `STEPS=60` ends the training early, after
# about one pass over the rows, and `EVAL=quick` evaluates on the dev split only: enough to see that
# it works. Leave both out for a result that you would report: four passes, evaluated on the test
# split.

# %% [markdown] tags=["t4"]
# ## 4. Train and evaluate
#
# `GPUS=1` uses one GPU: Kaggle has two.

# %% tags=["trial"] language="bash"
# make recipe NAME=my-desk TIER=trial STEPS=60 EVAL=quick

# %% tags=["t4"] language="bash"
# make recipe NAME=my-desk HARDWARE=t4-16gb GPUS=1

# %% [markdown]
# The base model is not just asked once. It is prompted in eight ways (with and without examples,
# with and without instructions, answers generated and ranked), and the best of them is what
# fine-tuning has to beat. The linear SVM is there to keep you honest: it trains in a second and
# costs nothing.
#
# ## 5. The numbers
#
# `report.html` in the run's folder has everything with pictures; `metrics.json` has the same for
# programs. Each number comes with its 95 % interval. The intervals are wide, because there are few
# rows and a customer's rows are not independent.

# %%
import json

metrics = json.load(open("runs/my-desk/latest/metrics.json"))
print(metrics["steps"], "steps")
print(metrics["rows"], metrics["split"], "rows of", metrics["groups"], "customers")
for name, measured in metrics["contenders"].items():
    accuracy = measured["accuracy"]
    print(f"{name:20} {accuracy['value']:6.1%}  ({accuracy['low']:.1%} to {accuracy['high']:.1%})")

# %% [markdown]
# `tuned` is the fine-tuned model that writes its answer, `tuned_rank_0` the same model that ranks
# the fourteen labels. The two contenders that begin with `base` are the base model with its plain
# prompt and with its best prompt.
#
# If the SVM is as good as the fine-tuned model or better, ship the SVM. A language model is worth
# it here only if it also has to write text, or if a longer training on a larger base beats the SVM.
#
# ## 6. Answer new messages in a batch

# %% language="bash"
# cat > runs/new-messages.jsonl <<'END'
# {"text": "The drill I borrowed has no battery in its box."}
# {"text": "Could I keep the tent until Tuesday?"}
# {"text": "Please stop my pass for the summer, I am away until September."}
# END
# make predict RUN=my-desk/latest DATA=runs/new-messages.jsonl OUT=runs/new-answers.jsonl
# cat runs/new-answers.jsonl

# %% [markdown]
# The third message asks for a pause, which is `hibernate`; `farewell` would end the pass for good.
# `predict` ranks the labels, so that no answer is invalid, and gives the probability of the best
# two. With `THRESHOLD=0.7` it leaves a message unlabelled if it is not sure; a person can then read
# those.
#
# ## 7. Merge
#
# The adapter becomes part of the base model's weights: one folder that transformers, vLLM and
# SGLang load. The merged model answers the same rows again, because merging can change answers.

# %% language="bash"
# make merge RUN=my-desk/latest

# %% [markdown]
# ## 8. Serve
#
# In a terminal you would type `make serve RUN=my-desk/latest`, and stop it with Ctrl-C. Here it
# runs in the background. `PORT=0` takes any free port; the server prints its address when it is
# ready.

# %%
import re
import subprocess

command = ["make", "serve", "RUN=my-desk/latest", "PORT=0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/v1", line)))
print("ready:", address.startswith("http://127.0.0.1:"))

# %% [markdown]
# It speaks OpenAI's protocol, so any client does. The system prompt has to be the one that the
# model was trained with: `system` in `datasets/my-desk/dataset.yaml`.

# %%
from openai import OpenAI

client = OpenAI(base_url=address, api_key="none")
messages = [json.loads(line)["text"] for line in open("runs/new-messages.jsonl")]
for text in messages:
    reply = client.chat.completions.create(
        model="my-desk",
        messages=[
            {"role": "system", "content": "Give the label of the text."},
            {"role": "user", "content": text},
        ],
        temperature=0,
        max_tokens=16,
    )
    print(f"{reply.choices[0].message.content:12} {text}")

# %% [markdown]
# A model with labels has a second address, which ranks them like `predict`:

# %%
for row in client.post("/classify", body={"input": messages}, cast_to=object)["data"]:
    print(f"{row['label']:12} {row['probability']:.2f}, then {row['second']} {row['second_probability']:.2f}")

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

# %% [markdown] tags=["trial"]
# ## The same on a GPU
#
# Only the training changes; everything else finds the run by its name.
#
# | step | here, on the CPU | on a GPU |
# |---|---|---|
# | base model | SmolLM2-135M-Instruct | Qwen3-1.7B |
# | check | `make check NAME=my-desk` | the same |
# | plan | `make plan NAME=my-desk GPU=t4` | the same, for the GPU that you have: `GPU=l4` |
# | train | `make recipe NAME=my-desk TIER=trial STEPS=60 EVAL=quick` | `make recipe NAME=my-desk` |
# | rent one | | `make launch NAME=my-desk ON=skypilot STORE=s3://bucket/runs MAX_COST=5 DRY=1` |
# | public rows | | `make fork FROM=classify-lora NAME=my-banking DATA=mteb/banking77` |
# | serve | `make serve RUN=my-desk/latest` | the same, or with `ENGINE=vllm` |
#
# On a free T4 in Colab or Kaggle: [the same notebook with those commands](classification-t4.ipynb).
