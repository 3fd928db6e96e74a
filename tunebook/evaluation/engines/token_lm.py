"""lm-evaluation-harness's HFLM, working on token ids.

HFLM re-encodes text, moves trailing spaces, may add a bos token and does not keep the reason why generation
stopped. This subclass takes the ids of the prompt contract unchanged, and computes the common start of all
prompts of a job once. Inherited methods still run the harness's own tasks on the same loaded model.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import torch
from lm_eval.models.huggingface import HFLM
from transformers import DynamicCache, TextStreamer

from tunebook.evaluation.engines.protocol import Engine, Generation, Ids, Span
from tunebook.evaluation.engines.tables import left_untied

MIN_SHARED = 24
_with_dense_rows: WeakSet[torch.nn.Module] = WeakSet()


def _logprob(logits: torch.Tensor, ids: Ids) -> float:
    """Return the summed log probability of `ids` (T) under `logits` (T, vocabulary)."""
    target = torch.tensor(ids, device=logits.device)
    return float(logits.float().log_softmax(dim=-1).gather(1, target[:, None]).sum())


def _let_rows_be_dense(model: Any) -> None:
    """Give the output layer its input without gaps in memory. The last positions of each row
    (`logits_to_keep`) lie apart; with weights that need no gradient, as those below an adapter, PyTorch 2.13
    multiplies them row by row on a CPU, and in bf16 without its fast kernels. A batch of 24 rows took
    SmolLM2-135M 5 to 7 seconds of processor time for this product alone, and takes 0.02 now."""
    head = model.get_output_embeddings()
    if head is None or model.device.type != "cpu" or head in _with_dense_rows:
        return

    def dense(_: torch.nn.Module, args: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        hidden = args[0]
        # `is_contiguous` ignores the stride of a single row; the product does not.
        if hidden.dim() < 3 or hidden.stride(0) == hidden.shape[1] * hidden.shape[2]:
            return None
        return hidden.clone(memory_format=torch.contiguous_format), *args[1:]

    head.register_forward_pre_hook(dense)
    _with_dense_rows.add(head)


class TokenLM(HFLM, Engine):
    """A causal model in this process. All methods are greedy and without dropout."""

    def __init__(self, model: Any, tokenizer: Any, virtual: DynamicCache | None = None) -> None:
        """`virtual` is the cache of trained virtual tokens (plugins/virtual_tokens.py) that precede every
        prompt."""
        with left_untied(model):
            super().__init__(
                pretrained=model,
                tokenizer=tokenizer,
                batch_size=1,
                device=str(model.device),
                backend="causal",
            )
        self.net = model.eval()
        _let_rows_be_dense(model)
        self.end = tokenizer.eos_token_id
        self.pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else self.end
        self.virtual = virtual
        self._prefix: tuple[Ids, DynamicCache] | None = None

    def _model_call(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_virtual()
        return super()._model_call(*args, **kwargs)

    def _model_generate(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_virtual()
        return super()._model_generate(*args, **kwargs)

    def _refuse_virtual(self) -> None:
        if self.virtual is not None:
            raise NotImplementedError("The harness's own methods do not support virtual tokens.")

    def _shared(self, prefix: Ids, copies: int) -> tuple[DynamicCache | None, int, int]:
        """Return a cache of the common start of all prompts, for a batch of `copies`; the number of positions
        in it; and how many tokens of `prefix` it covers: 0 if the prefix is too short to be worth it."""
        prefix = prefix if len(prefix) >= MIN_SHARED else []
        if not prefix and self.virtual is None:
            return None, 0, 0
        if self._prefix is None or self._prefix[0] != prefix:
            cache = DynamicCache(config=self.net.config)
            if self.virtual is not None:
                cache = copy.deepcopy(self.virtual)
            if prefix:
                ids = torch.tensor([prefix], device=self.device)
                self.net(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
            self._prefix = (prefix, cache)
        cache = copy.deepcopy(self._prefix[1])
        held = cache.get_seq_length()
        cache.batch_repeat_interleave(copies)
        return cache, held, len(prefix)

    def _left_padded(self, sequences: list[Ids]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return ids and mask, both (B, T)."""
        width = max(len(sequence) for sequence in sequences)
        ids = [[self.pad] * (width - len(s)) + s for s in sequences]
        mask = [[0] * (width - len(s)) + [1] * len(s) for s in sequences]
        return torch.tensor(ids, device=self.device), torch.tensor(mask, device=self.device)

    @torch.inference_mode()
    def stream(
        self,
        context: Ids,
        max_new: int,
        show: Callable[[str], None],
        stop: Callable[[], bool],
        **sampling: float | None,
    ) -> tuple[bool, int]:
        """Answer one prompt and call `show` with each piece of text as it is generated, until `stop()` is
        true. Greedy, unless `sampling` (temperature, top_p) is given. Return whether the answer ended by
        itself, and how many tokens were generated, with that of its end."""

        class Pieces(TextStreamer):
            def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
                if text:
                    show(text)

        cache, held, _ = self._shared([], 1)
        ids = torch.tensor([[self.pad] * held + context], device=self.device)
        output = self.net.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            past_key_values=cache,
            max_new_tokens=max_new,
            do_sample=bool(sampling),
            eos_token_id=self.end,
            pad_token_id=self.pad,
            **{"temperature": None, "top_p": None, "top_k": None, **sampling},
            streamer=Pieces(self.tokenizer, skip_prompt=True, skip_special_tokens=True),
            stopping_criteria=[lambda ids, scores, **_: torch.full((len(ids),), stop())],
        )
        return bool(output[0, -1] == self.end), output.shape[1] - ids.shape[1]

    @torch.inference_mode()
    def generate(self, contexts: list[Ids], prefix: Ids, max_new: int) -> list[Generation]:
        cache, held, shared = self._shared(prefix, len(contexts))
        ids, mask = self._left_padded([context[shared:] for context in contexts])
        if held:
            # `generate` skips as many ids as the cache has positions; those of virtual tokens are never read.
            start = [self.pad] * (held - shared) + prefix[:shared]
            head = torch.tensor([start], device=self.device).expand(len(contexts), -1)
            ids = torch.cat([head, ids], dim=1)
            mask = torch.cat([torch.ones_like(head), mask], dim=1)
        output = self.net.generate(
            input_ids=ids,
            attention_mask=mask,
            past_key_values=cache,
            max_new_tokens=max_new,
            do_sample=False,
            num_beams=1,
            use_cache=True,
            eos_token_id=self.end,
            pad_token_id=self.pad,
            temperature=None,
            top_p=None,
            top_k=None,
        )
        results = []
        for row in output[:, ids.shape[1] :].tolist():
            stopped = self.end in row
            results.append(Generation(row[: row.index(self.end)] if stopped else row, stopped))
        return results

    @torch.inference_mode()
    def score_spans(
        self, contexts: list[Ids], answers: list[Ids], spans: list[list[Span]], prefix: Ids
    ) -> list[list[float]]:
        cache, held, shared = self._shared(prefix, len(contexts))
        rows = [context[shared:] + answer for context, answer in zip(contexts, answers, strict=True)]
        ids, mask = self._left_padded(rows)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + held
        if held:
            mask = torch.cat([mask.new_ones(len(rows), held), mask], dim=1)
        keep = max(len(answer) for answer in answers) + 1
        logits = self.net(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=keep,
        ).logits
        sums = []
        for index, (answer, places) in enumerate(zip(answers, spans, strict=True)):
            row = logits[index, -len(answer) - 1 : -1]
            sums.append([_logprob(row[start:end], answer[start:end]) for start, end in places])
        return sums

    @torch.inference_mode()
    def rank_choices(self, contexts: list[Ids], choices: list[Ids], prefix: Ids) -> list[list[float]]:
        """Put all choices after their context in one sequence. The attention mask lets each choice see only
        the context and itself, and its positions continue from the context, so the context is computed only
        once.
        """
        cache, held, shared = self._shared(prefix, len(contexts))
        rest = [context[shared:] for context in contexts]
        width, tail = max(len(row) for row in rest), [token for choice in choices for token in choice]
        owner = torch.tensor([i for i, choice in enumerate(choices) for _ in choice])
        order = torch.tensor([j for choice in choices for j in range(len(choice))])
        ids, mask = self._left_padded(rest)
        ids = torch.cat([ids, torch.tensor([tail], device=self.device).expand(len(rest), -1)], dim=1)
        length = width + len(tail)
        allowed = torch.zeros(len(rest), length, held + length, dtype=torch.bool)
        allowed[:, :, :held] = True
        causal = torch.ones(width, width).tril().bool()
        seen = mask.bool().cpu()
        allowed[:, :width, held : held + width] = causal[None] & seen[:, None, :]
        allowed[:, width:, held : held + width] = seen[:, None, :]
        own = (owner[:, None] == owner[None, :]) & (order[None, :] <= order[:, None])
        allowed[:, width:, held + width :] = own[None]
        # A padding row must attend to something, or its softmax is NaN.
        allowed |= torch.eye(length, held + length, dtype=torch.bool).roll(held, dims=1)[None]
        dtype = self.net.dtype
        bias = torch.zeros(allowed.shape, dtype=dtype).masked_fill(~allowed, torch.finfo(dtype).min)
        positions = (mask.cumsum(dim=1) - 1).clamp(min=0) + held
        starts = mask.sum(dim=1, keepdim=True) + held
        positions = torch.cat([positions, starts + order[None, :].to(self.device)], dim=1)
        logits = self.net(
            input_ids=ids,
            attention_mask=bias[:, None].to(self.device),
            position_ids=positions,
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=len(tail) + 1,
        ).logits
        # The context's last position predicts a choice's first token; each further token is predicted by the
        # one before it.
        places = [0 if j == 0 else i for i, j in enumerate(order.tolist())]
        logprobs = logits.float().log_softmax(dim=-1)[:, places, tail]
        parts = logprobs.split([len(choice) for choice in choices], dim=1)
        return torch.stack([part.sum(dim=1) for part in parts], dim=1).tolist()
