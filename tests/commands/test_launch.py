"""Rented GPUs: the generated files are valid and limited and hold no secret; nothing is rented."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.commands import tunebook
from tunebook.commands.launch import On, Order, choose, commands, job, launch, render
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.core.console import Console
from tunebook.core.errors import InputError, MachineError
from tunebook.core.paths import ROOT

SKYPILOT = "skypilot==0.14.1"
ONS: list[On] = ["skypilot", "slurm", "kubernetes", "ssh"]
OPTIONS = Options(
    tier="real", store="s3://bucket/some/where", seed=7, set='lora_dropout=0.1 wandb_name="it is"'
)
ONE_ROW_A_CARD = "micro_batch_size=1 gradient_accumulation_steps=1"
PLANTED = {
    "HF_TOKEN": "hf_planted0123456789",
    "WANDB_API_KEY": "planted-wandb-key-0123",
    "MY_PASSWORD": "planted-pw-1",
}


def order(on: On, **changes: object) -> Order:
    given = {"gpu": "h100", "image": "registry.invalid/tunebook:1", "host": "me@192.0.2.1", "dry": True}
    return Order(on, **{**given, **changes})  # type: ignore[arg-type]


def generated(
    name: str, on: On, folder: Path, options: Options = OPTIONS, **changes: object
) -> dict[str, str]:
    recipe, asked = recipes.load_recipe(name), order(on, **changes)
    return render(on, job(recipe, options, asked, choose(recipe, options, asked), folder))


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """Every file for every recipe that fits on one card of the table, made with tokens in the environment."""
    folder = tmp_path_factory.mktemp("launch")
    before = dict(os.environ)
    os.environ |= PLANTED
    files: dict[str, Path] = {}
    try:
        for name in recipes.names():
            recipe = recipes.load_recipe(name)
            try:
                plan = choose(recipe, OPTIONS, order("slurm", gpu=None))
            except MachineError:
                assert "32b" in name or "multinode" in name or "full-8b" in name, name
                continue
            for on in ONS:
                values = job(recipe, OPTIONS, order(on), plan, folder)
                for file, text in render(on, values).items():
                    path = folder / name / on / file
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(text)
                    files[f"{name}/{on}/{file}"] = path
    finally:
        os.environ.clear()
        os.environ |= before
    assert len(files) > 9 * 6
    yield files


def test_no_token_is_in_any_file(everything: dict[str, Path]) -> None:
    for path in everything.values():
        text = path.read_text()
        assert not [value for value in PLANTED.values() if value in text], path


def test_shellcheck_and_bash_accept_the_scripts(everything: dict[str, Path]) -> None:
    scripts = [str(path) for name, path in everything.items() if name.endswith((".sh", ".sbatch"))]
    assert scripts
    checked = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", *scripts], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    for script in scripts:
        assert subprocess.run(["bash", "-n", script]).returncode == 0


def test_kubernetes_accepts_the_jobs(everything: dict[str, Path]) -> None:
    import kubernetes_validate

    jobs = [path for name, path in everything.items() if name.endswith("kubernetes/job.yaml")]
    assert jobs
    for path in jobs:
        kubernetes_validate.validate(yaml.safe_load(path.read_text()), "1.31", strict=True)


@pytest.mark.slow
def test_skypilot_accepts_the_tasks(everything: dict[str, Path]) -> None:
    """In an environment of its own, since SkyPilot wants other versions than Axolotl."""
    tasks = [str(path) for name, path in everything.items() if name.endswith("skypilot/task.yaml")]
    assert tasks
    code = "import sky, sys; print(*(sky.Task.from_yaml(path).name for path in sys.argv[1:]))"
    command = [
        Path(sys.executable).parent / "uv",
        "run",
        "--no-project",
        "--quiet",
        "--python",
        sys.executable,
    ]
    command += ["--with", SKYPILOT, "python", "-c", code, *tasks]
    result = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **PLANTED})
    if result.returncode == 2:  # uv's own, not Python's
        pytest.skip(f"{SKYPILOT} cannot be installed here: {result.stderr.strip()[-200:]}")
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(result.stdout.split()) == len(tasks)


def test_every_job_runs_the_plan_it_was_priced_for(tmp_path: Path) -> None:
    words = (
        "--tier real --hardware 80gb --gpus 1 --set 'lora_dropout=0.1 wandb_name=\"it is\"' --seed 7 --store"
    )
    for on, where in (("slurm", "s3://bucket/some/where"), ("skypilot", "/store/some/where")):
        texts = generated("chat-lora", on, tmp_path)  # type: ignore[arg-type]
        assert f"recipe chat-lora {words} {where}" in "".join(texts.values())
    pod = yaml.safe_load(generated("chat-lora", "kubernetes", tmp_path)["job.yaml"])["spec"]["template"][
        "spec"
    ]
    container = pod["containers"][0]
    assert container["args"][:3] == ["tunebook", "recipe", "chat-lora"] and "command" not in container
    assert 'lora_dropout=0.1 wandb_name="it is"' in container["args"]


def test_a_job_stops_itself_before_it_costs_more_than_allowed(tmp_path: Path) -> None:
    recipe, asked = recipes.load_recipe("chat-lora"), order("slurm", price=2.0, max_cost=4.0)
    plan = choose(recipe, OPTIONS, asked)
    assert plan.hours and plan.hours.high < 2.0
    values = job(recipe, OPTIONS, asked, plan, tmp_path)
    hours = float(values["environment"]["TUNEBOOK_MAX_HOURS"])
    assert plan.hours.high <= hours <= 2.0 and values["seconds"] <= 7200
    freely = job(recipe, OPTIONS, order("slurm", price=2.0), plan, tmp_path)
    assert float(freely["environment"]["TUNEBOOK_MAX_HOURS"]) == pytest.approx(
        plan.hours.high * 1.5 + 0.5, abs=0.01
    )


def test_restarts_are_asked_for_with_the_exit_code_of_a_saved_state(tmp_path: Path) -> None:
    task = yaml.safe_load(generated("chat-lora", "skypilot", tmp_path)["task.yaml"])
    assert task["resources"]["use_spot"] and task["resources"]["job_recovery"]["recover_on_exit_codes"] == [
        75
    ]
    assert task["file_mounts"]["/store"]["source"] == "s3://bucket"
    rules = yaml.safe_load(generated("chat-lora", "kubernetes", tmp_path)["job.yaml"])["spec"][
        "podFailurePolicy"
    ]
    assert [rule["action"] for rule in rules["rules"]] == ["Ignore", "Ignore", "FailJob"]
    assert "#SBATCH --requeue" in generated("chat-lora", "slurm", tmp_path)["job.sbatch"]


def test_several_machines_start_through_srun(tmp_path: Path) -> None:
    options = Options(tier="real", set=ONE_ROW_A_CARD)
    text = generated("chat-lora", "slurm", tmp_path, options, count=16)["job.sbatch"]
    assert "--nodes=2" in text and "h100:8" in text and "TUNEBOOK_NODES=2" in text and "--gpus 16" in text


@pytest.mark.parametrize(
    ("on", "options", "changes", "code"),
    [
        ("skypilot", Options(tier="real"), {}, "launch.needs_store"),
        ("kubernetes", Options(tier="real", store="/mnt/x"), {}, "launch.needs_store"),
        ("kubernetes", OPTIONS, {"image": None}, "launch.needs_image"),
        ("ssh", OPTIONS, {"host": None}, "launch.bad_host"),
        ("ssh", OPTIONS, {"host": "me@x; rm -rf /"}, "launch.bad_host"),
        ("slurm", OPTIONS, {"max_cost": 0.1}, "launch.too_expensive"),
        (
            "slurm",
            OPTIONS,
            {"gpu": "rtx-3090", "max_cost": 9.0},
            "launch.no_price",
        ),
        (
            "skypilot",
            replace(OPTIONS, set=ONE_ROW_A_CARD),
            {"count": 16},
            "launch.several_machines",
        ),
        ("slurm", Options(tier="real", set="wandb_name=hf_abcdefgh12345678"), {}, "launch.secret_in_option"),
    ],
)
def test_an_order_that_cannot_be(
    on: On, options: Options, changes: dict[str, object], code: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        generated("chat-lora", on, tmp_path, options, **changes)
    assert caught.value.code == code
    assert "None" not in str(caught.value)


def test_a_token_of_the_environment_in_an_option_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_API_KEY", "plain-words-here")
    with pytest.raises(InputError, match="a token or a password"):
        generated("chat-lora", "slurm", tmp_path, Options(tier="real", set="wandb_name=plain-words-here"))


def test_a_card_that_is_too_small_is_refused() -> None:
    with pytest.raises(MachineError, match="does not fit on 1 x T4"):
        choose(recipes.load_recipe("chat-lora-8b"), OPTIONS, order("slurm", gpu="t4"))


FAKE = """#!/usr/bin/env bash
{ printf '%s' "$(basename "$0")"; printf '\\t%s' "$@"; printf '\\n'; } >>"$RECORD"
if [ ! -t 0 ] && [ "$(basename "$0")" = ssh ]; then cat >>"$RECORD.stdin"; fi
"""


@pytest.mark.parametrize("on", ONS)
def test_the_commands_run_up_to_the_cloud(on: On, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but the check of the recipe, which needs Axolotl; the commands write down their words."""
    for name in ("sky", "sbatch", "kubectl", "rsync", "ssh"):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(FAKE)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setenv("RECORD", str(tmp_path / "record"))
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path / "runs"))
    for key, value in PLANTED.items():
        monkeypatch.setenv(key, value)
    checked: list[str] = []
    monkeypatch.setattr(
        "tunebook.commands.launch.run_check", lambda name, options, console: checked.append(name)
    )
    assert launch("chat-lora", OPTIONS, order(on, dry=False), Console()) == 0
    assert checked == ["chat-lora"]
    record = (tmp_path / "record").read_text()
    first = {
        "skypilot": "sky\tjobs\tlaunch\t--yes",
        "slurm": "sbatch\t",
        "kubernetes": "kubectl\tapply",
        "ssh": "rsync\t",
    }
    assert record.startswith(first[on])
    assert not [value for value in PLANTED.values() if value in record], "no token on a command line"
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or not [value for value in PLANTED.values() if value in path.read_text()]
    if on == "ssh":
        sent = (tmp_path / "record.stdin").read_text().splitlines()
        assert f"HF_TOKEN={PLANTED['HF_TOKEN']}" in sent
        assert not any(line.startswith("MY_PASSWORD") for line in sent)


# A run that saves and ends with 75 on SIGTERM, else with the codes in the file CODES, one a start.
RUN = """#!/usr/bin/env bash
trap 'sleep 0.3; echo saved >>"$RECORD"; exit 75' TERM
echo started >>"$RECORD"
code=$(head -n 1 "$CODES")
sed -i 1d "$CODES"
[ -z "$code" ] || exit "$code"
while :; do sleep 0.1; done
"""


def stand_in(folder: Path, name: str, text: str) -> Path:
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


DEAF = '#!/bin/sh\necho "started" >>"$RECORD"\nexec /bin/sleep 20\n'  # dies of SIGTERM


@pytest.mark.parametrize("run", [RUN, DEAF], ids=["saves", "too early to save"])
@pytest.mark.parametrize("signal_number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_batch_script_saves_and_queues_again(signal_number: int, run: str, tmp_path: Path) -> None:
    stand_in(tmp_path, "tunebook", run)
    stand_in(tmp_path, "scontrol", '#!/bin/sh\necho "scontrol $*" >>"$RECORD"\n')
    stand_in(tmp_path, "sleep", '#!/bin/sh\n[ "$1" = 60 ] || exec /bin/sleep "$1"\n')
    text = generated("chat-lora", "slurm", tmp_path)["job.sbatch"]
    real = str(ROOT / ".venv" / "bin" / "tunebook")
    assert real in text
    (tmp_path / "job").write_text(text.replace(real, str(tmp_path / "bin" / "tunebook")))
    (tmp_path / "codes").touch()
    record = tmp_path / "record"
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"}
    environment |= {"RECORD": str(record), "CODES": str(tmp_path / "codes")}
    process = subprocess.Popen(["bash", str(tmp_path / "job")], env=environment)
    for _ in range(200):
        if record.is_file():
            break
        time.sleep(0.05)
    process.send_signal(signal_number)
    assert process.wait(20) == (75 if run == RUN else 143)
    saved = ["saved"] if run == RUN else []
    assert record.read_text().splitlines() == ["started", *saved, "scontrol requeue 7"]


@pytest.mark.parametrize("codes", ["75 75 0", "75 3", "4"])
def test_a_rented_machine_goes_on_after_75_and_always_ends(codes: str, tmp_path: Path) -> None:
    run = stand_in(tmp_path, "run", RUN)
    stand_in(tmp_path, "docker", "#!/bin/sh\nexit 1\n")
    stand_in(tmp_path, "make", '#!/bin/sh\nmkdir -p .venv/bin && cp "$RUN" .venv/bin/tunebook\n')
    stand_in(tmp_path, "sleep", '#!/bin/sh\n[ "$1" -lt 60 ] && exec /bin/sleep "$1"\n')  # not to the limit
    for name in ("shutdown", "sudo", "runpodctl"):
        stand_in(tmp_path, name, f'#!/bin/sh\necho "{name} $*" >>"$RECORD"\n')
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n")
    (tmp_path / "machine.sh").write_text(generated("chat-lora", "ssh", tmp_path)["machine.sh"])
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RUNPOD_POD_ID": "pod9"}
    environment |= {"RECORD": str(tmp_path / "record"), "CODES": str(tmp_path / "codes"), "RUN": str(run)}
    done = subprocess.run(["bash", "machine.sh"], cwd=tmp_path, env=environment, timeout=30)
    assert done.returncode == int(codes.split()[-1])
    said = (tmp_path / "record").read_text().splitlines()
    assert said == ["started"] * len(codes.split()) + ["runpodctl stop pod pod9"]


def test_a_launch_without_its_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path))
    with pytest.raises(MachineError, match="sbatch not found on PATH"):
        launch("chat-lora", OPTIONS, order("slurm", dry=False), Console())


def test_dry_prints_files_price_and_command_and_no_token(tmp_path: Path) -> None:
    words = ["launch", "classify-lora", "--on", "slurm", "--gpu", "h100", "--dry"]
    result = tunebook(*words, TUNEBOOK_RUNS=str(tmp_path), **PLANTED)
    assert result.returncode == 0, result.stderr
    for said in ("price     $", "#SBATCH --time=", "would check the recipe, and then: sbatch"):
        assert said in result.stdout
    assert not [value for value in PLANTED.values() if value in result.stdout + result.stderr]


def test_commands_name_secrets_and_never_their_values(tmp_path: Path) -> None:
    words = commands("skypilot", tmp_path, {"secrets": ["HF_TOKEN"]})
    assert words[words.index("--secret") + 1] == "HF_TOKEN"


# The container


def test_the_dockerfile_and_compose_file_are_valid() -> None:
    tools = Path(sys.executable).parent
    for command in (
        [tools / "hadolint", "Dockerfile"],
        [tools / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"],
        [tools / "shellcheck", *sorted(str(path) for path in (ROOT / "scripts").glob("*.sh"))],
    ):
        result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        assert result.returncode == 0, result.stdout + result.stderr


def test_the_image_is_not_root_and_takes_nothing_a_person_keeps_here() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")][-1] == "USER 1000:1000"
    assert not [
        line for line in lines if "TOKEN" in line or "secret" in line.lower() and not line.startswith("#")
    ]
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {".git", ".venv", "runs", ".env*"} <= set(ignored)


def test_editing_a_recipe_builds_nothing_heavy_again() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    heavy = max(index for index, line in enumerate(lines) if "make setup" in line or "ensure()" in line)
    whole = next(
        index for index, line in enumerate(lines) if line.startswith("COPY") and line.endswith(". .")
    )
    assert whole > heavy
    copied = " ".join(line for line in lines[:heavy] if line.startswith("COPY"))
    assert "recipes" not in copied and "datasets" not in copied
