"""llama.cpp's own converter, on a tokenizer that it would misread.

python -m tunebook.export.convert_gguf LLAMA_CPP SCRIPT FOLDER ... (the arguments of SCRIPT)

The converter mistakes a byte-level BPE tokenizer for SentencePiece if its tokenizer.json sets
`byte_fallback`, as transformers does after reading a GGUF file, and llama.cpp's tokenizer then aborts. It
also recognizes pre-tokenizers by the hash of an encoded text, and lacks the hash of GPT-2's for some
vocabularies. This script corrects both; parity compares the tokens of every prompt.
"""

from __future__ import annotations

import json
import runpy
import sys
import tempfile
from pathlib import Path
from typing import Any

BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}


def plain_byte_level(tokenizer: dict[str, Any]) -> bool:
    """Return whether a tokenizer.json is byte-level BPE that splits words like GPT-2."""
    before = tokenizer.get("pre_tokenizer") or {}
    plain = before.get("type") == "ByteLevel" and before.get("use_regex", True)
    return tokenizer["model"]["type"] == "BPE" and plain


def linked(folder: Path, scratch: Path) -> Path:
    """Return a folder of links to the files of `folder`, with a tokenizer.json that the converter reads
    correctly."""
    for path in folder.iterdir():
        if path.name != "tokenizer.json":
            (scratch / path.name).symlink_to(path.resolve())
    tokenizer = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    tokenizer["model"]["byte_fallback"] = False
    tokenizer["decoder"] = BYTE_LEVEL
    (scratch / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    return scratch


def main(home: Path, script: str, folder: Path, rest: list[str]) -> None:
    """Run the converter."""
    sys.path[:0] = [str(home), str(home / "gguf-py")]
    path = folder / "tokenizer.json"
    with tempfile.TemporaryDirectory() as text:
        if path.is_file() and plain_byte_level(json.loads(path.read_text(encoding="utf-8"))):
            from conversion.base import TextModel

            known = TextModel.get_vocab_base_pre

            def named(self: Any, tokenizer: Any) -> str:
                try:
                    return str(known(self, tokenizer))
                except NotImplementedError:
                    return "gpt-2"

            TextModel.get_vocab_base_pre = named
            folder = linked(folder, Path(text))
        sys.argv = [script, str(folder), *rest]
        runpy.run_path(str(home / script), run_name="__main__")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), sys.argv[4:])
