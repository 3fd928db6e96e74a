"""A GGUF file as an evaluation engine, through llama.cpp's own library, tokenizer and chat template.

The file's own tokenizer and template create the prompts, because that is what its users get: a file with the
wrong template answers as badly here as it does for them.
"""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from tunebook.core.errors import MachineError, Problem
from tunebook.core.files import AxolotlConfig
from tunebook.core.ranks import wanted_threads
from tunebook.evaluation.engines.protocol import Engine, Generation, Ids, ModelSource, Span
from tunebook.models import llama_cpp

BATCH = 512  # tokens computed in one batch


def bindings() -> Any:
    """Return the ctypes bindings `llama_cpp.llama_cpp` of the llama.cpp built by `models/llama_cpp.py`."""
    home = llama_cpp.folder()
    os.environ["LLAMA_CPP_LIB_PATH"] = str(home / "bin")
    if str(home / "python") not in sys.path:
        sys.path.append(str(home / "python"))
    import llama_cpp.llama_cpp as bound

    return bound


class GgufFile:
    """A GGUF model loaded in this process, with its tokenizer."""

    def __init__(self, path: Path, adapter: Path | None = None) -> None:
        """`adapter` is a LoRA in GGUF format, applied with scale 1."""
        self.lib = bindings()
        self.lib.llama_backend_init()
        self._silence = self.lib.llama_log_callback(lambda level, text, data: None)
        self.lib.llama_log_set(self._silence, None)
        self.model = self.lib.llama_model_load_from_file(
            str(path).encode(), self.lib.llama_model_default_params()
        )
        if not self.model:
            text = (
                "llama.cpp cannot load this file, which is probably damaged. Remove the file and export it "
                "again."
            )
            raise MachineError(Problem(text, str(path), code="export.gguf_not_loaded"))
        self.vocab = self.lib.llama_model_get_vocab(self.model)
        self.size: int = self.lib.llama_vocab_n_tokens(self.vocab)
        self.adapter = None
        if adapter:
            self.adapter = self.lib.llama_adapter_lora_init(self.model, str(adapter).encode())
            if not self.adapter:
                raise RuntimeError(f"llama.cpp cannot load {adapter}.")

    @property
    def template(self) -> str | None:
        """The chat template in the file."""
        text = self.lib.llama_model_chat_template(self.model, None)
        return text.decode() if text else None

    @property
    def eos(self) -> int:
        return int(self.lib.llama_vocab_eos(self.vocab))

    @property
    def begin(self) -> str:
        """The text of the token that precedes every prompt for users of this file, "" if there is none."""
        if not self.lib.llama_vocab_get_add_bos(self.vocab):
            return ""
        return self.text([int(self.lib.llama_vocab_bos(self.vocab))], special=True)

    def ends(self, token: int) -> bool:
        """Return whether llama.cpp stops at `token`."""
        return bool(self.lib.llama_vocab_is_eog(self.vocab, token))

    def tokens(self, text: str) -> Ids:
        """Return the ids of `text`, with special tokens parsed and none added."""
        data = text.encode()
        room = len(data) + 8
        ids = (self.lib.llama_token * room)()
        count = self.lib.llama_tokenize(self.vocab, data, len(data), ids, room, False, True)
        return list(ids[:count])

    def text(self, ids: Ids, special: bool) -> str:
        """Return the text of `ids`; with `special`, including special tokens."""
        room = 64 * len(ids) + 64
        buffer = ctypes.create_string_buffer(room)
        array = (self.lib.llama_token * len(ids))(*ids)
        count = self.lib.llama_detokenize(self.vocab, array, len(ids), buffer, room, False, special)
        return buffer.raw[: max(count, 0)].decode("utf-8", "replace")


class GgufTokenizer:
    """The interface that `PromptEncoder` and `Evaluator` need of a tokenizer, implemented by the GGUF file's
    own.

    The template is rendered by transformers with the variables that the Hugging Face tokenizer passes to it.
    """

    def __init__(self, file: GgufFile, hugging_face: Any) -> None:
        self.file, self._rendering = file, hugging_face
        self.eos_token_id = file.eos
        self.eos_token = file.text([file.eos], special=True)

    def apply_chat_template(self, messages: Any, **options: Any) -> str:
        template = self.file.template
        text = str(self._rendering.apply_chat_template(messages, chat_template=template, **options))
        # llama-server and Ollama put this token there if the file says so.
        return text if text.startswith(self.file.begin) else self.file.begin + text

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, Ids]:
        assert not add_special_tokens
        return {"input_ids": self.file.tokens(text)}

    def decode(self, ids: Ids, skip_special_tokens: bool = False) -> str:
        return self.file.text(ids, special=not skip_special_tokens)


class LlamaLM(Engine):
    """Greedy answers and log probabilities of a GGUF file, one prompt at a time; the part that a prompt
    shares with the previous one is not computed again."""

    def __init__(self, file: GgufFile, positions: int) -> None:
        """`positions` is the maximum length of a prompt with its answer, in tokens."""
        self.file, self.lib, self.end = file, file.lib, file.eos
        options = self.lib.llama_context_default_params()
        options.n_ctx, options.n_batch, options.n_ubatch = positions, BATCH, BATCH
        options.n_threads = options.n_threads_batch = wanted_threads() or len(os.sched_getaffinity(0))
        self.context = self.lib.llama_init_from_model(file.model, options)
        if not self.context:
            raise MemoryError(f"llama.cpp: not enough memory for a context of {positions} tokens.")
        if file.adapter:
            adapters = (self.lib.llama_adapter_lora_p_ctypes * 1)(file.adapter)
            scales = (ctypes.c_float * 1)(1.0)
            self.lib.llama_set_adapters_lora(self.context, adapters, 1, scales)
        self._held: Ids = []

    def _feed(self, ids: Ids, wanted: int) -> np.ndarray:
        """Return the logits (wanted, vocabulary) of the last `wanted` of `ids`, in fp32."""
        kept = 0
        while kept < min(len(self._held), len(ids) - wanted) and self._held[kept] == ids[kept]:
            kept += 1
        self.lib.llama_memory_seq_rm(self.lib.llama_get_memory(self.context), 0, kept, -1)
        self._held = list(ids)
        rows = []
        for start in range(kept, len(ids), BATCH):
            chunk = ids[start : start + BATCH]
            batch = self.lib.llama_batch_init(len(chunk), 0, 1)
            batch.n_tokens = len(chunk)
            for i, token in enumerate(chunk):
                batch.token[i], batch.pos[i] = token, start + i
                batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
                batch.logits[i] = start + i >= len(ids) - wanted
            failed = self.lib.llama_decode(self.context, batch)
            if failed:
                raise RuntimeError(f"llama.cpp: llama_decode returned {failed}.")
            for i in range(len(chunk)):
                if batch.logits[i]:
                    pointer = self.lib.llama_get_logits_ith(self.context, i)
                    rows.append(np.ctypeslib.as_array(pointer, (self.file.size,)).copy())
            self.lib.llama_batch_free(batch)
        return np.stack(rows)

    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        answers = []
        for context in contexts:
            ids: Ids = []
            stopped = False
            while len(ids) < max_new:
                token = int(self._feed([*context, *ids], 1)[0].argmax())
                if self.file.ends(token):
                    stopped = True
                    break
                ids.append(token)
            answers.append(Generation(ids, stopped))
        return answers

    def score_spans(
        self, contexts: list[Ids], answers: list[Ids], spans: list[list[Span]], prefix: Ids
    ) -> list[list[float]]:
        sums = []
        for context, answer, places in zip(contexts, answers, spans, strict=True):
            logits = self._feed([*context, *answer[:-1]], len(answer)).astype(np.float64)
            top = logits.max(axis=1)
            total = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
            each = logits[np.arange(len(answer)), answer] - total
            sums.append([float(each[start:end].sum()) for start, end in places])
        return sums

    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        return [self.score([context] * len(choices), choices, prefix) for context in contexts]


class GgufModels(ModelSource):
    """A model source with one GGUF file, under the name `tuned`."""

    def __init__(
        self,
        path: Path,
        config: AxolotlConfig,
        hugging_face: Any,
        positions: int,
        adapter: Path | None = None,
    ) -> None:
        """`config` is that of the run from which the file was exported; `hugging_face` is the run's
        tokenizer, for the variables that a template gets besides the messages."""
        self.config = config
        self._file, self._positions = GgufFile(path, adapter), positions
        self.tokenizer = GgufTokenizer(self._file, hugging_face)
        self._facts = {
            "gguf": [_stamp(one) for one in (path, adapter) if one],
            "llama.cpp": llama_cpp.VERSION,
        }
        self._open: LlamaLM | None = None

    @property
    def head(self) -> bool:
        return False

    def open(self, name: str, engine: bool = True) -> Engine:
        if self._open is None:
            self._open = LlamaLM(self._file, self._positions)
        return self._open

    def fingerprint(self, name: str) -> dict[str, Any]:
        return self._facts


def _stamp(path: Path) -> list[Any]:
    facts = path.stat()
    return [str(path), facts.st_size, facts.st_mtime_ns]
