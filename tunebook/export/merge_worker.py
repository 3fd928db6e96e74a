"""Write the merged model of a run; started by `merge.ensure`.

python -m tunebook.export.merge_worker RUN TARGET
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path
from typing import Any

from tunebook.core.files import write_json
from tunebook.core.ranks import Ranks
from tunebook.evaluation.contenders import TUNED, Contender
from tunebook.evaluation.engines import tables
from tunebook.evaluation.engines.loader import Models
from tunebook.evaluation.engines.token_lm import TokenLM
from tunebook.evaluation.evaluator import Evaluator
from tunebook.export.merge import MADE_OF, WAYS, MadeOf, OnDev
from tunebook.metrics.scoring import HIGHER_IS_BETTER
from tunebook.models.fingerprint import weights_hash
from tunebook.runs.run import Run


class MergedModels(Models):
    """The models of a run whose base model was quantised; `original` and `dequantised` are its two merged
    forms."""

    def open(self, name: str, engine: bool = True) -> Any:
        if name not in WAYS:
            return super().open(name, engine)
        if name not in self._open:
            self.close()
            self._open[name] = TokenLM(self._merged(name), self.tokenizer)
        return self._open[name]

    def fingerprint(self, name: str) -> dict[str, Any]:
        return {**super().fingerprint("tuned"), "merged": name} if name in WAYS else super().fingerprint(name)

    def _merged(self, way: str) -> Any:
        from peft import PeftModel

        options = {"quantization_config": self._quantisation()} if way == "dequantised" else {}
        revision = self.config.get("revision_of_model", "main")
        base = self._load(self.config["base_model"], revision=revision, **options)
        if options:
            base = base.dequantize().to(self.dtype)
        tables.resize(base, tables.saved_rows(self._folders["tuned"]))
        return tables.merge(PeftModel.from_pretrained(base, str(self._folders["tuned"])))


def merge(run: Run, target: Path) -> None:
    """Write the merged fine-tuned model of `run` and its tokenizer to `target`, with a record of its
    sources and the peak memory of this process (bytes)."""
    models = MergedModels(run.config(), run / "model", Ranks())
    on_dev = measured_on_dev(run, models) if models.quantised else None
    model = models.open(on_dev["way"] if on_dev else "tuned", engine=False)
    assert isinstance(model, TokenLM)
    model.net.save_pretrained(target)
    models.tokenizer.save_pretrained(target)
    facts: MadeOf = {
        "adapter": weights_hash(run / "model"),
        "merged": weights_hash(target),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }
    write_json(target / MADE_OF, {**facts, **(on_dev or {})})


def measured_on_dev(run: Run, models: MergedModels) -> OnDev:
    """Return the primary metric on dev of the run's model and of both merged forms, and the better `way`."""
    evaluator = Evaluator.of_run(run, models=lambda config: models)
    primary, rows = evaluator.suite.primary, evaluator.rows["dev"][: evaluator.suite.dev_rows]
    dev = {"run": evaluator.primary(TUNED, "merge-dev", rows)}
    dev |= {way: evaluator.primary(Contender(f"merged_{way}", way), "merge-dev", rows) for way in WAYS}
    sign = 1 if HIGHER_IS_BETTER[primary] else -1
    return {"metric": primary, "dev": dev, "way": max(WAYS, key=lambda way: sign * dev[way])}


if __name__ == "__main__":
    merge(Run(Path(sys.argv[1])), Path(sys.argv[2]))
