"""Render messages with the chat template of a model folder; started by `ollama.write`.

python -m tunebook.export.render_prompts FOLDER, with {"prompts": [...], "options": {...}} on standard input.
"""

from __future__ import annotations

import json
import sys

from transformers import AutoTokenizer

from tunebook.data.prompt import PromptEncoder
from tunebook.export.ollama import PROBES

if __name__ == "__main__":
    given = json.load(sys.stdin)
    encoder = PromptEncoder(AutoTokenizer.from_pretrained(sys.argv[1]), given["options"])
    probes = {
        name: encoder.text([{"role": role, "content": text} for role, text in turns], opened=True)
        for name, turns in PROBES.items()
    }
    prompts = [encoder.text(messages, opened=True) for messages in given["prompts"]]
    print(json.dumps({"probes": probes, "prompts": prompts, "end": encoder.tokenizer.eos_token}))
