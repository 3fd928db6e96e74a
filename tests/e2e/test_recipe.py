"""The real thing: `tunebook recipe` with the real Axolotl, on a tiny random model."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from tests.support.lazy import lazy
from tunebook.core.files import read_json, read_jsonl, read_records
from tunebook.runs.run import Run

torch = lazy("torch")

pytestmark = pytest.mark.slow
# Few steps on the task's rows, a checkpoint every 5, and no evaluation between them.
SHORT = "evals_per_epoch=null saves_per_epoch=null save_steps=5 warmup_ratio=0 replay=none"


class Runner:
    """Runs the console entry with its own runs and result cache, on the tiny model."""

    def __init__(self, folder: Path, base: Path) -> None:
        self.runs, self.base, self.said = folder / "runs", base, ""
        self.env = {**os.environ, "TUNEBOOK_RUNS": str(self.runs)}

    def command(self, *extra: str) -> list[str]:
        settings = f"base_model={self.base} peft_layers_to_transform=null learning_rate=0.02 {SHORT}"
        start = [sys.executable, "-m", "tunebook.commands.cli", "recipe", "classify-lora", "--tier", "trial"]
        return [*start, "--hardware", "cpu", "--steps", "20", "--set", settings, "--eval", "quick", *extra]

    def run(self, *extra: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*extra), env=self.env, capture_output=True, text=True)

    def kill_when(self, ready: Callable[[], bool], *extra: str, by: int = signal.SIGKILL) -> int:
        """Start, send the signal (kill -9) when `ready`, and wait until the whole process tree is gone."""
        process = subprocess.Popen(self.command(*extra), env=self.env, stdout=subprocess.DEVNULL)
        for _ in range(1800):
            if ready():
                break
            assert process.poll() is None, "finished before it could be killed"
            time.sleep(0.1)
        os.kill(process.pid, by)
        return process.wait()

    @property
    def folder(self) -> Path:
        return self.runs / "classify-lora" / "latest"


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Runner:
    runner = Runner(tmp_path_factory.mktemp("undisturbed"), base)
    result = runner.run("--smoke")  # the others are without, and have to end with the same numbers
    assert result.returncode in (0, 3), result.stderr + result.stdout
    runner.said = result.stdout
    assert "5 steps on the longest rows" in result.stdout
    assert not (runner.folder / "smoke").exists()
    assert [*read_json(runner.folder / "state.json")["smoke"]] == ["CPU"]
    return runner


def comparable(folder: Path) -> dict:
    measured = read_json(folder / "metrics.json")
    kept = ("contenders", "comparisons", "dev", "baseline", "verdict", "steps", "trained_tokens")
    return {key: measured[key] for key in kept}


def test_loss_falls_and_exactly_the_adapter_changes(undisturbed: Runner, base: Path) -> None:
    from safetensors.torch import load_file

    log = read_json(undisturbed.folder / "train" / "history.json")["log"]
    losses = [entry["loss"] for entry in log if "loss" in entry]
    assert len(losses) == 20
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])

    adapter = load_file(undisturbed.folder / "model" / "adapter_model.safetensors")
    linear = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    layers = {(name.split(".layers.")[1].split(".")[0], name.split(".")[-3]) for name in adapter}
    assert layers == {(str(layer), module) for layer in (0, 1) for module in linear}
    assert len(adapter) == 2 * 7 * 2, "an A and a B for each, and nothing else"
    assert all(tensor.abs().max() > 0 for name, tensor in adapter.items() if ".lora_B." in name)


def test_every_row_was_compared_before_the_first_step(undisturbed: Runner) -> None:
    found = read_json(undisturbed.folder / "train" / "supervised.json")
    rows = len(read_jsonl(undisturbed.folder / "data" / "train.jsonl"))
    assert rows == found["rows"] == found["compared"] > 0
    assert (found["differ"], found["left_out"], found["not_compared"]) == (0, 0, {})
    assert f"{rows} of {rows} rows was compared" in undisturbed.said


@pytest.mark.parametrize("extra", [(), ("--smoke",)])
def test_a_run_on_other_text_than_the_rows_ends_before_its_first_step(
    extra: tuple[str, ...], base: Path, tmp_path: Path
) -> None:
    """A template that writes the labels another way, which no rule of check tries."""
    runner = Runner(tmp_path, base)
    other = shutil.copytree(base, tmp_path / "other")
    template = other / "chat_template.jinja"
    assert "message['content']" in template.read_text()
    template.write_text(
        template.read_text().replace("message['content']", "message['content'] | replace('_', ' ')")
    )
    result = subprocess.run(
        [word.replace(str(base), str(other)) for word in runner.command(*extra)],
        env=runner.env,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 2, result.stderr + result.stdout
    assert "[train.other_text]" in result.stderr and "Traceback" not in result.stderr
    ids = [row["id"] for row in read_jsonl(runner.folder / "data" / "train.jsonl")]
    named = re.findall(r"data/train\.jsonl:(\d+): id (\S+): assistant turn 1: ", result.stderr)
    assert len(named) == 3 and all(ids[int(line) - 1] == id for line, id in named)
    assert not list((runner.folder / "train").glob("checkpoint-*"))
    assert not (runner.folder / "smoke").exists()


def test_report_numbers_are_those_of_metrics_json(undisturbed: Runner) -> None:
    measured = read_json(undisturbed.folder / "metrics.json")
    page = (undisturbed.folder / "report.html").read_text()
    assert measured["sentence"] in page.replace("&#39;", "'")
    value = measured["contenders"]["tuned"]["accuracy"]["value"]
    assert f"{value * 100:.1f} %" in page
    assert measured["split"] == "dev", "EVAL=quick never touches the test split"


def test_finished_run_prints_its_verdict_and_stops(undisturbed: Runner) -> None:
    before = (undisturbed.folder / "metrics.json").read_bytes()
    log = Run(undisturbed.folder.resolve()).log.read_bytes()
    undisturbed.folder.unlink()  # as on another machine, which has the run from a store
    result = undisturbed.run()
    assert "verdict" in result.stdout and "finished" in result.stdout
    assert Run(undisturbed.folder.resolve()).log.read_bytes() == log, "no child was started"
    assert (undisturbed.folder / "metrics.json").read_bytes() == before


def test_kill_in_training_then_a_broken_checkpoint(undisturbed: Runner, base: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path, base)
    runner.kill_when(lambda: (runner.folder / "train" / "checkpoint-10" / "trainer_state.json").is_file())
    # As if killed inside the next checkpoint's write: the newest one is cut short.
    broken = runner.folder / "train" / "checkpoint-15"
    broken.mkdir(exist_ok=True)
    (broken / "adapter_model.safetensors").write_bytes(b"\x10\x00\x00")
    result = runner.run()
    assert result.returncode in (0, 3), result.stderr + result.stdout
    assert "checkpoint-15 was moved to train/broken/" in result.stdout
    assert "training resumes after step" in result.stdout
    assert comparable(runner.folder) == comparable(undisturbed.folder)


def test_sigterm_in_training_then_another_disk(undisturbed: Runner, base: Path, tmp_path: Path) -> None:
    """A checkpoint is saved at whatever step it is; a machine with nothing but the store goes on there."""
    runner, store = Runner(tmp_path, base), ("--store", str(tmp_path / "store"))

    def trained() -> list[int]:
        events = read_records(runner.folder / "events.jsonl")
        return [e["done"] for e in events if e["stage"] == "train" and not {"loss", "saved"} & set(e)]

    code = runner.kill_when(lambda: max(trained(), default=0) >= 7, *store, by=signal.SIGTERM)
    assert code == 75
    reached = trained()[-1]
    assert (runner.folder / "train" / f"checkpoint-{reached}" / "trainer_state.json").is_file()
    shutil.rmtree(runner.runs)
    result = runner.run(*store)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    assert f"checkpoint of step {reached}" in result.stdout
    assert trained().count(reached) == 2, "once when it was made, once where training goes on"
    assert comparable(runner.folder) == comparable(undisturbed.folder)
    weights = [made.folder / "model" / "adapter_model.safetensors" for made in (undisturbed, runner)]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    found = read_json(runner.folder / "metrics.json")["interruptions"]
    assert (found["sessions"], found["stopped"], found["killed"], found["steps_repeated"]) == (2, 1, 0, 0)


def test_kill_in_evaluation(undisturbed: Runner, base: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path, base)
    jobs = runner.folder / "eval" / "jobs"
    runner.kill_when(lambda: any(jobs.glob("tuned.agreement*")) or any(jobs.glob("tuned.dev*")))
    result = runner.run()
    assert result.returncode in (0, 3), result.stderr + result.stdout
    assert "already done: check, data, train" in result.stdout
    assert comparable(runner.folder) == comparable(undisturbed.folder)


def test_a_model_from_elsewhere_is_evaluated_by_the_same_harness(undisturbed: Runner, base: Path) -> None:
    words = ["evaluate", "--model", str(undisturbed.folder / "model"), "--task", "kettlewick-intents"]
    command = [sys.executable, "-m", "tunebook.commands.cli", *words, "--base", str(base), "--eval", "quick"]
    result = subprocess.run(
        [*command, "--tier", "trial"], env=undisturbed.env, capture_output=True, text=True
    )
    assert result.returncode in (0, 3), result.stderr + result.stdout
    found = read_json(undisturbed.runs / "evaluate-model" / "latest" / "metrics.json")
    before = read_json(undisturbed.folder / "metrics.json")
    assert found["contenders"] == before["contenders"]
    assert found["verdict"] == before["verdict"]


def test_training_stops_early_by_the_metric_of_the_task(base: Path, tmp_path: Path) -> None:
    """Too small a rate changes no answer: after one evaluation without a gain, 20 steps end at 10."""
    runner = Runner(tmp_path, base)
    command = runner.command("--rows", "dev=24")
    plugins = "plugins=[tunebook.plugins.SeededInit,tunebook.plugins.DevMetric]"
    stop = f"eval_steps=5 early_stopping_patience=1 metric_for_best_model=eval_dev_accuracy {plugins}"
    at = command.index("--set") + 1
    command[at] = f"{command[at].replace('learning_rate=0.02', 'learning_rate=1e-9')} {stop}"
    result = subprocess.run(command, env=runner.env, capture_output=True, text=True)
    assert result.returncode in (0, 3), result.stderr + result.stdout
    log = read_json(runner.folder / "train" / "history.json")["log"]
    seen = {entry["step"]: entry["eval_dev_accuracy"] for entry in log if "eval_dev_accuracy" in entry}
    measured = read_json(runner.folder / "metrics.json")
    assert set(seen) == {5, 10} and measured["steps"] == 10


def test_a_training_that_diverges_is_ended(base: Path, tmp_path: Path) -> None:
    runner = Runner(tmp_path, base)
    command = [
        word.replace("learning_rate=0.02", "learning_rate=1e20")
        for word in runner.command("--rows", "dev=24")
    ]
    result = subprocess.run(command, env=runner.env, capture_output=True, text=True)
    assert result.returncode == 1, result.stderr + result.stdout
    assert re.search(r"diverged: after step [1-4] weights of \S+ are NaN or Inf", result.stderr)
    assert "learning_rate" in result.stderr and "Traceback" not in result.stderr
    assert not list((runner.folder / "train").glob("checkpoint-*")), "no weights that are none"


def test_the_metric_while_training_is_that_of_the_harness(undisturbed: Runner, base: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tunebook.evaluation.dev_metric import dev_metric

    run = Run(undisturbed.folder.resolve())
    dtype = torch.bfloat16 if yaml.safe_load((run / "config.yaml").read_text())["bf16"] else torch.float32
    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base, dtype=dtype), run / "model")
    trainer = SimpleNamespace(
        model=model,
        accelerator=SimpleNamespace(unwrap_model=lambda model: model),
        processing_class=AutoTokenizer.from_pretrained(run / "model"),
    )
    found = dev_metric(run, trainer, 20)
    assert list(found) == ["eval_dev_accuracy"]
    ids = [row["id"] for row in read_jsonl(run / "data" / "dev.jsonl")]
    drawn = random.Random(42).sample(ids, 40)
    answers = {row["id"]: row for row in read_jsonl(run / "eval" / "answers" / "tuned.dev.jsonl")}
    batches = read_jsonl(run / "eval" / "jobs" / "step-20.dev.generate.0.jsonl")[1:]
    tokens = [record["tokens"] for batch in batches for record in batch["records"]]
    one = Counter(trainer.processing_class.decode(t, skip_special_tokens=True).strip() for t in tokens)
    other = Counter(answers[id]["answer"] for id in drawn)
    assert (one & other).total() > 20, "the same rows and prompts; a merge rounds, and a random model wavers"
    assert len(other) > 3


def test_another_model_is_asked_the_same(undisturbed: Runner, base: Path, tmp_path: Path) -> None:
    """Its own chat template, its own best way on dev, and a place in the table and the verdict."""
    other = shutil.copytree(base, tmp_path / "Tiny_Two")
    template = other / "chat_template.jinja"
    template.write_text(template.read_text().replace("<|im_start|>", "<|im_start|>>"))
    words = ["evaluate", "--model", str(undisturbed.folder / "model"), "--task", "kettlewick-intents"]
    command = [sys.executable, "-m", "tunebook.commands.cli", *words, "--base", str(base), "--tier", "trial"]
    env = {**undisturbed.env, "TUNEBOOK_RUNS": str(tmp_path / "runs")}
    asked = subprocess.run([*command, "--beside", str(other)], env=env, capture_output=True, text=True)
    assert asked.returncode in (0, 3), asked.stderr + asked.stdout
    run = tmp_path / "runs" / "evaluate-model" / "latest"
    found, choice = read_json(run / "metrics.json"), read_json(run / "eval" / "choice.json")
    way = choice["beside"]["tiny-two"]["way"]
    assert way.startswith("tiny-two_") and way in choice["beside"]["tiny-two"]["tried_on_dev"]
    assert len(choice["beside"]["tiny-two"]["tried_on_dev"]) == len(choice["tried_on_dev"])
    assert {"tuned", "tiny-two"} <= set(found["contenders"]) and "tiny-two" in found["sentence"]
    assert [c for c in found["comparisons"] if c["b"] == "tiny-two" and c["metric"] == "accuracy"]
    for page in ("report.html", "report.md"):
        assert str(other) in (run / page).read_text()
    answers = run / "eval" / "answers"
    one, two = (read_jsonl(answers / f"{name}.test.jsonl") for name in ("base_generate_0", "tiny-two"))
    assert [row["id"] for row in one] == [row["id"] for row in two]
