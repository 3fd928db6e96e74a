"""Train LoRA on the rows of classify-lora's trial tier in plain Transformers and PEFT; print its accuracy.

    make data NAME=classify-lora TIER=trial
    .venv/bin/python scripts/plain_peft.py ~/.cache/tunebook/models/smollm2-135m-instruct-1 \
        datasets/kettlewick-intents/rows
"""

import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer, Trainer, TrainingArguments, set_seed

LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
SETTINGS = {"learning_rate": 1e-3, "num_train_epochs": 4, "per_device_train_batch_size": 8}


def read(path):
    return [json.loads(line)["messages"] for line in path.open(encoding="utf-8")]


def encode(tokenizer, messages):
    """The prompt gets the label -100, so that only the answer and its end-of-turn token are learned."""
    text = tokenizer.apply_chat_template(messages[:-1], tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    answer = tokenizer(messages[-1]["content"] + "<|im_end|>", add_special_tokens=False)["input_ids"]
    return {"input_ids": prompt + answer, "labels": [-100] * len(prompt) + answer}


def collate(rows, pad):
    longest = max(len(row["input_ids"]) for row in rows)
    fill = {"input_ids": pad, "labels": -100}
    batch = {key: [row[key] + [by] * (longest - len(row[key])) for row in rows] for key, by in fill.items()}
    batch["attention_mask"] = [
        [1] * len(r["input_ids"]) + [0] * (longest - len(r["input_ids"])) for r in rows
    ]
    return {key: torch.tensor(value) for key, value in batch.items()}


def answer(model, tokenizer, rows):
    """Prompts are padded on the left, so that each answer follows its own prompt."""
    turns = [messages[:-1] for messages in rows]
    texts = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(texts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    written = model.generate(**ids, max_new_tokens=16, do_sample=False)[:, ids["input_ids"].shape[1] :]
    return [text.strip() for text in tokenizer.batch_decode(written, skip_special_tokens=True)]


def main(base, rows, out):
    set_seed(42)
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    lora = LoraConfig(r=16, lora_alpha=32, target_modules=LINEAR)
    model = get_peft_model(model, lora)
    schedule = {
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "save_strategy": "no",
        "report_to": "none",
    }
    arguments = TrainingArguments(out, **SETTINGS, **schedule, seed=42)
    train = [encode(tokenizer, messages) for messages in read(rows / "train.jsonl")]
    Trainer(model, arguments, data_collator=lambda batch: collate(batch, 0), train_dataset=train).train()
    model.eval().save_pretrained(out)
    test = read(rows / "test.jsonl")
    parts = [test[at : at + 20] for at in range(0, len(test), 20)]
    answers = [text for part in parts for text in answer(model, tokenizer, part)]
    right = [text == row[-1]["content"] for text, row in zip(answers, test, strict=True)]
    print(json.dumps({"accuracy": sum(right) / len(right), "rows": len(right)}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3] if len(sys.argv) > 3 else "runs/plain-peft")
