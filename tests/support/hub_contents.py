"""What the Hub's stand-in holds for the real tier: the recipes' base models and datasets by their own ids.

Models have the true architecture with few, narrow layers and random weights, and their shards, config and
tokenizer as files. Datasets have the true ids, configs, splits and columns as Parquet, with rows of our own.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from tests.support.real_tokenizers import tokenizer_if_there
from tunebook.data.dataset import load_dataset_config
from tunebook.models import trial_model

Rows = list[dict[str, Any]]
# The recipes' base models; True: input and output embeddings are one table.
QWEN3 = {
    "Qwen/Qwen3-0.6B": True,
    "Qwen/Qwen3-1.7B": True,
    "Qwen/Qwen3-8B": False,
    "Qwen/Qwen3-8B-Base": False,
    "Qwen/Qwen3-32B": False,
}
HIDDEN, INNER, LAYERS, HEADS, KV_HEADS, HEAD = 64, 128, 2, 4, 2, 16
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")


def model(tied: bool) -> dict[str, bytes]:
    """Return the files of a small Qwen3: the true tokenizer where it is in the cache, else the trial
    model's."""
    return _small(_tokenizer(), tied)


@cache
def _tokenizer() -> tuple[tuple[str, bytes], ...]:
    folder = tokenizer_if_there("qwen3") or trial_model.ensure()
    return tuple((name, (folder / name).read_bytes()) for name in TOKENIZER if (folder / name).is_file())


@cache
def _small(tokenizer: tuple[tuple[str, bytes], ...], tied: bool) -> dict[str, bytes]:
    import numpy
    from safetensors.numpy import save

    files = dict(tokenizer)
    tokens = json.loads(files["tokenizer.json"])
    ids = {**tokens["model"]["vocab"], **{one["content"]: one["id"] for one in tokens["added_tokens"]}}
    size = max(ids.values()) + 1
    ends = {"bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<|im_end|>"]}
    config = {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        **ends,
        "head_dim": HEAD,
        "hidden_act": "silu",
        "hidden_size": HIDDEN,
        "initializer_range": 0.02,
        "intermediate_size": INNER,
        "max_position_embeddings": 40960,
        "max_window_layers": LAYERS,
        "model_type": "qwen3",
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "num_key_value_heads": KV_HEADS,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": tied,
        "torch_dtype": "bfloat16",
        "use_cache": True,
        "use_sliding_window": False,
        "vocab_size": size,
    }
    random = numpy.random.default_rng(0)
    shards = [{}, {}] if tied else [{}, {}, {}]
    for place, (name, shape) in enumerate(_weights(size, tied)):
        norm = len(shape) == 1
        value = numpy.ones(shape) if norm else random.normal(0, 0.1, shape)
        shards[0 if place == 0 else 2 if name == "lm_head.weight" else 1][name] = value.astype("float16")
    names = [f"model-{i:05}-of-{len(shards):05}.safetensors" for i in range(1, len(shards) + 1)]
    weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
    total = sum(value.nbytes for shard in shards for value in shard.values())
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    files |= {name: save(shard, {"format": "pt"}) for name, shard in zip(names, shards, strict=True)}
    card = "---\nlicense: apache-2.0\nlibrary_name: transformers\n---\nA small stand-in.\n"
    texts = {"config.json": config, "generation_config.json": ends, "model.safetensors.index.json": index}
    return {
        **files,
        **{name: json.dumps(text).encode() for name, text in texts.items()},
        "README.md": card.encode(),
    }


def _weights(size: int, tied: bool) -> Iterable[tuple[str, tuple[int, ...]]]:
    """Yield the name and shape of each weight of a Qwen3."""
    yield "model.embed_tokens.weight", (size, HIDDEN)
    for layer in range(LAYERS):
        wide, narrow = HEADS * HEAD, KV_HEADS * HEAD
        shapes = {
            "input_layernorm": (HIDDEN,),
            "post_attention_layernorm": (HIDDEN,),
            "self_attn.q_norm": (HEAD,),
            "self_attn.k_norm": (HEAD,),
            "self_attn.q_proj": (wide, HIDDEN),
            "self_attn.k_proj": (narrow, HIDDEN),
            "self_attn.v_proj": (narrow, HIDDEN),
            "self_attn.o_proj": (HIDDEN, wide),
            "mlp.gate_proj": (INNER, HIDDEN),
            "mlp.up_proj": (INNER, HIDDEN),
            "mlp.down_proj": (HIDDEN, INNER),
        }
        yield from ((f"model.layers.{layer}.{name}.weight", shape) for name, shape in shapes.items())
    yield "model.norm.weight", (HIDDEN,)
    if not tied:
        yield "lm_head.weight", (size, HIDDEN)


def dataset(configs: dict[str, dict[str, Rows]], features: dict[str, Any] | None = None) -> dict[str, bytes]:
    """Return the files of a dataset on the Hub: a card that lists configs and splits, and Parquet files.

    Args:
        configs: the rows of each split of each config.
        features: types of columns as datasets writes them, where Parquet alone does not say them.
    """
    files, listed = {}, []
    for config, splits in configs.items():
        folder = "data" if len(configs) == 1 else config
        paths = {split: f"{folder}/{split}-00000-of-00001.parquet" for split in splits}
        files |= {paths[split]: parquet(rows, features) for split, rows in splits.items()}
        data_files = [{"split": split, "path": f"{folder}/{split}-*"} for split in splits]
        listed.append({"config_name": config, "data_files": data_files})
    card = yaml.safe_dump({"license": "cc-by-4.0", "configs": listed}, sort_keys=False)
    return {"README.md": f"---\n{card}---\nA small stand-in.\n".encode(), **files}


def parquet(rows: Rows, features: dict[str, Any] | None = None) -> bytes:
    """Return rows as the bytes of a Parquet file."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pylist(rows)
    if features:
        said = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": said})
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer)
    return buffer.getvalue()


# ---- the recipes' datasets

# Short, so that rows of a label are no near-duplicates of each other.
ASKED = [
    "about {}",
    "{}?",
    "help: {}",
    "my {}",
    "{} please",
    "why {}",
    "{} again",
    "the {}",
    "{} now",
    "no {}",
]
TOWNS = "Ardmoor Brill Calder Dunlin Eskdale Farrow Gosling Hexley Ivel Jarrow Keld Lydden Marram".split()
TRADES = "miller cooper tanner saddler glazier thatcher chandler fuller".split()


def banking77() -> dict[str, bytes]:
    """mteb/banking77: eight of its labels, each often enough that a tenth of the rows becomes dev."""
    labels = load_dataset_config("banking77").labels

    def rows(asked: list[str]) -> Rows:
        return [
            {
                "text": text.format(labels[label].replace("_", " ")),
                "label": label,
                "label_text": labels[label],
            }
            for text in asked
            for label in range(0, len(labels), 10)
        ]

    return dataset({"default": {"train": rows(ASKED), "test": rows(["what of {}"])}})


def squad_v2() -> dict[str, bytes]:
    """rajpurkar/squad_v2: paragraphs on towns, each with two questions and one that it does not answer."""

    def rows(towns: list[str], trades: list[str]) -> Rows:
        result: Rows = []
        for town, trade in itertools.product(towns, trades):
            year, count = 1700 + len(result), 3 + len(result)
            text = f"The {trade} of {town} opened a shop in {year}. There were {count} looms in its cellar."
            answers = {"In which year did it open?": str(year), "How many looms were there?": str(count)}
            for question, answer in [*answers.items(), (f"Who married the {trade}?", "")]:
                found = {
                    "text": [answer] if answer else [],
                    "answer_start": [text.index(answer)] if answer else [],
                }
                row = {"id": f"{town}-{trade}-{len(result)}", "title": town, "context": text}
                result.append({**row, "question": question, "answers": found})
        return result

    splits = {"train": rows(TOWNS[:10], TRADES[:2]), "validation": rows(TOWNS[10:], TRADES[:1])}
    return dataset({"squad_v2": splits})


def oasst2() -> dict[str, bytes]:
    """OpenAssistant/oasst2: trees of messages with a better and a worse reply, one in another language."""

    def rows(towns: list[str], trades: list[str]) -> Rows:
        result: Rows = []
        for number, (town, trade) in enumerate(itertools.product(towns, trades)):
            tree = f"{town}-{trade}"
            texts = [
                (None, "prompter", f"How did a {trade} of {town} learn the work?", None),
                (0, "assistant", f"From an older {trade}, over seven years in {town}.", 0),
                (0, "assistant", "No idea.", 1),
                (1, "prompter", "And what did it cost?", 0),
                (3, "assistant", f"About {number + 2} pounds, and a coat for the master.", 0),
            ]
            for place, (parent, role, text, rank) in enumerate(texts):
                result.append(_message(tree, place, parent, role, text, rank))
        return [*result, _message("fremd", 0, None, "prompter", "Wie lernt man das?", None) | {"lang": "de"}]

    splits = {"train": rows(TOWNS[:10], TRADES), "validation": rows(TOWNS[10:], TRADES[:3])}
    return dataset({"default": splits})


def _message(
    tree: str, place: int, parent: int | None, role: str, text: str, rank: int | None
) -> dict[str, Any]:
    return {
        "message_id": f"{tree}-{place}",
        "parent_id": None if parent is None else f"{tree}-{parent}",
        "user_id": f"user-{place}",
        "created_date": "2023-02-05T14:23:50.983374+00:00",
        "text": text,
        "role": role,
        "lang": "en",
        "review_count": 3,
        "review_result": True,
        "deleted": False,
        "rank": rank,
        "synthetic": False,
        "model_name": None,
        "detoxify": {"toxicity": 0.01, "insult": 0.01},
        "message_tree_id": f"{tree}-0",
        "tree_state": "ready_for_export",
        "emojis": {"name": ["+1"], "count": [1]},
        "labels": {"name": ["quality"], "value": [0.75], "count": [3]},
    }


# ---- lm-evaluation-harness's


def harness_datasets() -> dict[str, dict[str, bytes]]:
    """Return the datasets behind arc_easy, hellaswag, gsm8k, ifeval and mmlu, with few rows of our own."""
    return {
        "allenai/ai2_arc": dataset({"ARC-Challenge": _arc(1), "ARC-Easy": _arc(3)}),
        "Rowan/hellaswag": dataset(
            {"default": {split: _hellaswag(3) for split in ("train", "test", "validation")}}
        ),
        "openai/gsm8k": dataset(
            {name: {"train": _gsm8k(8), "test": _gsm8k(2)} for name in ("main", "socratic")}
        ),
        "google/IFEval": dataset({"default": {"train": _ifeval()}}),
        "cais/mmlu": _mmlu(),
    }


def _arc(count: int) -> dict[str, Rows]:
    rows = [
        {
            "id": f"Q{number}",
            "question": f"Which of these has {number + 3} sides?",
            "choices": {"text": ["a wheel", "a plank", "a tile", "a rope"], "label": list("ABCD")},
            "answerKey": "ABCD"[number % 4],
        }
        for number in range(count)
    ]
    return {"train": rows, "test": rows, "validation": rows}


def _hellaswag(count: int) -> Rows:
    return [
        {
            "ind": number,
            "activity_label": "Mending a kettle",
            "ctx_a": f"A man puts {number} kettles on the bench.",
            "ctx_b": "he",
            "ctx": f"A man puts {number} kettles on the bench. he",
            "endings": ["solders the spout.", "sings to it.", "drives away.", "eats the lid."],
            "source_id": f"activitynet~v_{number}",
            "split": "val",
            "split_type": "indomain",
            "label": str(number % 4),
        }
        for number in range(count)
    ]


def _gsm8k(count: int) -> Rows:
    return [
        {
            "question": f"Ann has {number} pears and buys 2 more. How many has she?",
            "answer": f"She has {number} + 2 = <<{number}+2={number + 2}>>{number + 2}.\n#### {number + 2}",
        }
        for number in range(count)
    ]


def _ifeval() -> Rows:
    """Instructions that need what the checks of the harness use: words, sentences, languages."""
    keys = ("num_words", "relation", "num_sentences", "capital_frequency", "capital_relation", "language")
    asked: list[tuple[list[str], Rows]] = [
        (
            ["punctuation:no_comma", "length_constraints:number_words"],
            [{}, {"relation": "at least", "num_words": 5}],
        ),
        (["length_constraints:number_sentences"], [{"relation": "at least", "num_sentences": 2}]),
        (["change_case:capital_word_frequency"], [{"capital_relation": "at least", "capital_frequency": 1}]),
    ]
    empty: dict[str, Any] = dict.fromkeys(keys)
    return [
        {
            "key": 1000 + number,
            "prompt": f"Write about mending, number {number}.",
            "instruction_id_list": names,
            "kwargs": [empty | one for one in kwargs],
        }
        for number, (names, kwargs) in enumerate(asked)
    ]


def _mmlu() -> dict[str, bytes]:
    """cais/mmlu: a config for each of the 57 subjects, with labels as class numbers."""
    features = {
        "question": {"dtype": "string", "_type": "Value"},
        "subject": {"dtype": "string", "_type": "Value"},
        "choices": {"feature": {"dtype": "string", "_type": "Value"}, "_type": "List"},
        "answer": {"names": list("ABCD"), "_type": "ClassLabel"},
    }

    def rows(subject: str, count: int) -> Rows:
        choices = ["one", "two", "three", "four"]
        return [
            {"question": f"{subject} {i}?", "subject": subject, "choices": choices, "answer": i % 4}
            for i in range(count)
        ]

    configs = {
        one: {"test": rows(one, 1), "validation": rows(one, 1), "dev": rows(one, 5)} for one in subjects()
    }
    return dataset(configs, features)


def subjects() -> list[str]:
    """Return the names of MMLU's configs, as the harness's own files name them."""
    found = find_spec("lm_eval")
    assert found is not None and found.submodule_search_locations
    folder = Path(found.submodule_search_locations[0]) / "tasks" / "mmlu" / "default"
    texts = [path.read_text() for path in sorted(folder.glob("mmlu_*.yaml"))]
    return [str(yaml.safe_load(text)["dataset_name"]) for text in texts]


def fill(repos: dict[str, dict[str, bytes]], harness: bool = False) -> None:
    """Put the recipes' base models and datasets into a stand-in, and with `harness` the harness's."""
    repos |= {name: model(tied) for name, tied in QWEN3.items()}
    own = {"mteb/banking77": banking77(), "rajpurkar/squad_v2": squad_v2(), "OpenAssistant/oasst2": oasst2()}
    own |= harness_datasets() if harness else {}
    repos |= {f"datasets/{name}": files for name, files in own.items()}
