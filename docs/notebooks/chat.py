# %% [markdown]
# # A chatbot, from a raw file to a served model
#
# The [case study](../guide/case-studies/chatbot.md) as a notebook that you can run on a laptop
# without a GPU. The desk of a cooperative, Kettlewick, has its own voice: an answer begins with the
# member's name, gives one next step and ends with a fixed line. Two hundred conversations
# demonstrate it, and a small model learns it.
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
# Each line is a conversation: a list of turns with `role` and `content`, like the files of OpenAI's
# fine-tuning and of most public chat datasets.

# %% language="bash"
# wc -l datasets/kettlewick-chat/source/train.jsonl
# head -n 1 datasets/kettlewick-chat/source/train.jsonl

# %% [markdown]
# ## 2. A recipe for this file

# %% language="bash"
# make fork FROM=chat-lora NAME=my-voice DATA=datasets/kettlewick-chat/source/train.jsonl

# %% [markdown]
# Read what is *not* learned. The answers begin with the member's name, and the name is in the
# column `member`, not in the messages: the model could only guess it. So we write it before the
# messages. A dataset is a short YAML file, and you may change any line of it.

# %%
from pathlib import Path

dataset = Path("datasets/my-voice/dataset.yaml")
text = dataset.read_text().replace('prompt: "{{ content }}"', 'prompt: "{{ member }}: {{ content }}"')
dataset.write_text(text)
print(text)

# %% [markdown]
# ## 3. Check and plan
#
# `check` looks for what would make the real run fail or mislead: leaks between splits, secrets,
# email addresses, rows that are too long. It needs no GPU.

# %% language="bash"
# make check NAME=my-voice

# %% [markdown]
# `plan` says what the real run would need on a GPU: memory, time and money.

# %% language="bash"
# make plan NAME=my-voice GPU=l4

# %% [markdown]
# ## 4. Train and evaluate
#
# `TIER=trial` trains SmolLM2-135M-Instruct on the CPU. `STEPS=20` ends the training early, after
# less than one pass over the conversations, and `EVAL=quick` evaluates on the dev split only. Leave
# both out for a result that you would report.

# %% language="bash"
# make recipe NAME=my-voice TIER=trial STEPS=20 EVAL=quick

# %% [markdown]
# ## 5. The numbers
#
# `report.html` in the run's folder has everything with pictures and answers; `metrics.json` has the
# numbers for programs. Free answers have no single right wording, so the first number is how likely
# the model finds the desk's own answers, in bits per byte; lower is better.

# %%
import json

metrics = json.load(open("runs/my-voice/latest/metrics.json"))
print(metrics["steps"], "steps")
print(metrics["rows"], metrics["split"], "answers to", metrics["groups"], "members")
for name, measured in metrics["contenders"].items():
    loss = measured["loss"]
    print(f"{name:24} {loss['value']:.3f} bits per byte  ({loss['low']:.3f} to {loss['high']:.3f})")

# %% [markdown]
# `tuned` is the fine-tuned model. The contenders that begin with `base` are the base model with its
# plain prompt and with its best prompt.
#
# ## 6. Talk to it in a batch
#
# `make chat RUN=my-voice/latest` is a conversation in the terminal. With `PROMPTS=` it answers the
# lines of a file. A line begins with the member's name, because that is how the prompts of the
# training look.

# %% language="bash"
# cat > runs/new-prompts.txt <<'END'
# Ottoline: The door of burrow 7 stays shut although the light is green.
# Babatunde: Can I keep the tent until Sunday?
# END
# make chat RUN=my-voice/latest PROMPTS=runs/new-prompts.txt OUT=runs/new-conversations.jsonl

# %%
for line in open("runs/new-conversations.jsonl"):
    for turn in json.loads(line)["messages"]:
        print(f"{turn['role']:10} {turn['content']}")

# %% [markdown]
# The voice is that of the desk. The content is not reliable: a model of this size invents opening
# hours and door numbers, and fine-tuning teaches style, not facts. Those have to come from a
# search, in the prompt.
#
# ## 7. Merge
#
# `merge` adds the adapter to the base model's weights, for programs that load no adapters. The
# merged model then answers the same rows again, to show that nothing was lost.

# %% language="bash"
# make merge RUN=my-voice/latest

# %% [markdown]
# For llama.cpp and Ollama, `make export RUN=my-voice/latest TO=gguf QUANT=q8_0` writes a GGUF file
# and measures it in the same way. It is not run here, because its first run builds llama.cpp, which
# needs cmake, a C++ compiler and about ten minutes. [After training](../after-training.md) shows
# what it measured for another run of this recipe.
#
# ## 8. Serve
#
# In a terminal you would type `make serve RUN=my-voice/latest`, and stop it with Ctrl-C. Here it runs
# in the background. `PORT=0` takes any free port; the server prints its address when it is ready.

# %%
import re
import subprocess

command = ["make", "serve", "RUN=my-voice/latest", "PORT=0"]
server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
address = next(found[0] for line in server.stdout if (found := re.search(r"http://\S+/v1", line)))
print("ready:", address.startswith("http://127.0.0.1:"))

# %% [markdown]
# It speaks OpenAI's protocol, so any client does. A second turn sends the whole conversation again:

# %%
from openai import OpenAI

client = OpenAI(base_url=address, api_key="none")
messages = []
turns = ["Mirela: The drill I borrowed has no battery in its box.", "Thank you. Can I pick it up on Friday?"]
for text in turns:
    messages.append({"role": "user", "content": text})
    reply = client.chat.completions.create(model="my-voice", messages=messages, temperature=0, max_tokens=96)
    messages.append({"role": "assistant", "content": reply.choices[0].message.content})
for turn in messages:
    print(f"{turn['role']:10} {turn['content']}")

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
# | check | `make check NAME=my-voice` | the same |
# | plan | `make plan NAME=my-voice GPU=l4` | the same, for the GPU that you have: `GPU=t4` |
# | train | `make recipe NAME=my-voice TIER=trial STEPS=20 EVAL=quick` | `make recipe NAME=my-voice` |
# | rent one | | `make launch NAME=my-voice ON=skypilot STORE=s3://bucket/runs MAX_COST=5 DRY=1` |
# | public rows | | `make fork FROM=chat-lora NAME=my-oasst DATA=OpenAssistant/oasst2` |
# | serve | `make serve RUN=my-voice/latest` | the same, or with `ENGINE=llamacpp` or `ENGINE=vllm` |
