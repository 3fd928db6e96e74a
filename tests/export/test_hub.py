"""Publishing on a stand-in of the Hub: what goes, what keeps it back, and an upload that breaks off."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.support import hub_server
from tests.support.hub_server import Hub
from tunebook.core.errors import InputError, MachineError
from tunebook.core.files import read_json, write_json
from tunebook.export import hub
from tunebook.report.report import write_report
from tunebook.runs.run import Run

pytestmark = pytest.mark.slow


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    import huggingface_hub.constants

    with hub_server.serving() as one:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", one.endpoint)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS
        monkeypatch.setattr("huggingface_hub.utils._http.HF_HUB_OFFLINE", False, raising=False)
        monkeypatch.setenv("HF_TOKEN", one.token)
        yield one


@pytest.fixture
def run(handmade: Callable[..., Run]) -> Run:
    """A classification run with a report and an adapter."""
    run = handmade("classification")
    model = run / "model"
    model.mkdir(exist_ok=True)
    (model / "adapter_model.safetensors").write_bytes(b"weights" * 100)
    write_json(model / "adapter_config.json", {"peft_type": "LORA"})
    (run / "config.yaml").write_text(yaml.safe_dump({"base_model": "x", "adapter": "lora", "bf16": True}))
    write_report(run)
    return run


def prepared(run: Run) -> hub.Upload:
    return hub.prepare(run, "adapter", "me/model", "apache-2.0")


def test_files_and_card(run: Run) -> None:
    upload = prepared(run)
    assert sorted(upload.files) == ["adapter_config.json", "adapter_model.safetensors"]
    meta = yaml.safe_load(upload.card.split("---")[1])
    assert meta["license"] == "apache-2.0" and meta["library_name"] == "peft"
    metric = meta["model-index"][0]["results"][0]["metrics"][0]
    assert metric["type"] == "accuracy" and 0 <= metric["value"] <= 1
    assert "95 % interval" in metric["name"]
    assert "AutoPeftModelForCausalLM" in upload.card and "## Limits" in upload.card
    assert str(run.folder) not in upload.card


def test_no_folder_of_this_machine_is_published(run: Run, tmp_path: Path) -> None:
    """PEFT writes where the base was loaded from; with that, nobody else could load the adapter."""
    base = tmp_path / "base"
    base.mkdir()
    (run / "config.yaml").write_text(
        yaml.safe_dump({"base_model": str(base), "adapter": "lora", "bf16": True})
    )
    write_json(run / "model" / "adapter_config.json", {"base_model_name_or_path": str(base), "r": 8})
    choice = run / "eval" / "choice.json"
    write_json(choice, {**read_json(choice), "precision": "bfloat16"})
    write_report(run)
    upload, model = prepared(run), hub.read_metrics(run / "metrics.json")["model"]
    assert json.loads(upload.texts["adapter_config.json"]) == {"base_model_name_or_path": model, "r": 8}
    assert "adapter_config.json" not in upload.files and [*upload.sizes][-1] == hub.CARD
    own = f'{run.folder.name}/model")'
    assert own in (run / "model_card.md").read_text(encoding="utf-8")
    assert own not in upload.card and str(tmp_path) not in upload.card
    # A base that is not on the Hub at all.
    write_json(run / "metrics.json", {**read_json(run / "metrics.json"), "model": str(base)})
    with pytest.raises(InputError) as caught:
        prepared(run)
    assert caught.value.code == "export.base_not_public"


def test_the_hubs_own_reader_takes_the_card(run: Run) -> None:
    from huggingface_hub import ModelCard

    data = ModelCard(prepared(run).card).data
    assert data.eval_results and data.eval_results[0].metric_type == "accuracy"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("optimizer.pt", b"x", "export.pickle"),
        ("pytorch_model.bin", b"x", "export.pickle"),
        ("train.jsonl", b"{}", "export.foreign_file"),
        ("modeling_mine.py", b"x", "export.foreign_file"),
        ("tokenizer_config.json", b'{"token": "hf_' + b"a" * 34 + b'"}', "export.secret"),
    ],
)
def test_what_must_not_go_stops_it(run: Run, name: str, content: bytes, code: str) -> None:
    (run / "model" / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        prepared(run)
    assert caught.value.codes == [code] and name in str(caught.value)


def test_no_weights_and_a_bad_name(run: Run) -> None:
    with pytest.raises(InputError) as caught:
        hub.prepare(run, "adapter", "model", "mit")
    assert caught.value.code == "export.bad_repo"
    with pytest.raises(InputError) as caught:
        hub.prepare(run, "merged", "me/model", "mit")
    assert caught.value.code == "export.not_made"
    (run / "model" / "adapter_model.safetensors").unlink()
    with pytest.raises(InputError) as caught:
        prepared(run)
    assert caught.value.code == "export.no_weights"


@pytest.mark.parametrize(
    ("base", "data", "code"),
    [
        ("Apache-2.0", "CC-BY-NC-4.0", "export.licence_conflict"),
        ("Apache-2.0", "unknown", "export.licence_conflict"),
        (None, "Apache-2.0", "export.licence_needed"),
        ("Apache-2.0", "Apache-2.0", None),
    ],
)
def test_licences(
    run: Run, monkeypatch: pytest.MonkeyPatch, base: str | None, data: str, code: str | None
) -> None:
    table = {hub.read_metrics(run / "metrics.json")["model"]: {"licence": base} if base else {}}
    monkeypatch.setattr(hub, "model_table", lambda: table)
    settings = run.settings()
    settings["dataset"]["licence"] = data
    monkeypatch.setattr(Run, "settings", lambda self: settings)
    if code is None:
        assert hub.licence_of(run, None) == "apache-2.0"
        return
    with pytest.raises(InputError) as caught:
        hub.licence_of(run, None)
    assert caught.value.code == code
    assert hub.licence_of(run, "MIT") == "mit"


def test_everything_arrives_in_one_commit(run: Run, served: Hub) -> None:
    upload = prepared(run)
    assert hub.send(upload, private=True).endswith("/commit/abc")
    assert served.private == {"me/model": True}
    sent = served.repos["me/model"]
    assert sorted(sent) == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert sent["README.md"].decode() == upload.card
    assert sent["adapter_model.safetensors"] == b"weights" * 100
    hub.send(upload, private=True)  # a repository that is there is written again


def test_without_a_right_to_write(run: Run, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(InputError) as caught:
        hub.send(prepared(run), private=True)
    assert caught.value.code == "hub.no_right_to_write"


def test_somebody_else_wrote_meanwhile(run: Run, served: Hub) -> None:
    served.conflict = True
    with pytest.raises(MachineError) as caught:
        hub.send(prepared(run), private=True)
    assert caught.value.code == "hub.upload_failed"
    assert served.repos["me/model"] == {}


def test_an_upload_that_broke_off_is_continued(run: Run, served: Hub) -> None:
    for number in range(3):
        (run / "model" / f"model-{number}.safetensors").write_bytes(bytes([number]) * 50)
    served.break_after = 2
    with pytest.raises(MachineError) as caught:
        hub.send(prepared(run), private=True)
    assert caught.value.code == "hub.upload_failed"
    assert served.repos["me/model"] == {}, "nothing is seen before all of it is there"
    arrived, served.break_after = len(served.uploads), None
    hub.send(prepared(run), private=True)
    assert len(served.uploads) == 4 and arrived == 2, "what arrived is not sent again"
    assert len(served.repos["me/model"]) == 6


def test_a_hub_that_cannot_be_reached(run: Run, served: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(MachineError) as caught:
        hub.send(prepared(run), private=True)
    assert caught.value.code == "hub.upload_failed"
