"""Rented GPUs: the generated files are valid and limited and hold no secret; nothing is rented."""

from __future__ import annotations

import inspect
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.support.commands import in_process, tunebook
from tunebook.commands.launch import On, Order, choose, commands, job, launch, launch_command, render, rows
from tunebook.commands.launch.order import refuse_incomplete
from tunebook.commands.launch.tested import before_renting
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.config.resolve import resolve
from tunebook.core.console import Console
from tunebook.core.errors import InputError, MachineError
from tunebook.core.paths import ROOT
from tunebook.data.dataset import load_dataset_config
from tunebook.pipeline import rehearsal_config
from tunebook.runs import rehearsal

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
    own = {"kubernetes": {"image": "registry.invalid/tunebook:1"}, "ssh": {"host": "me@192.0.2.1"}}
    return Order(on, **{"gpu": "h100", "dry": True, **own.get(on, {}), **changes})  # type: ignore[arg-type]


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


@pytest.mark.slow
def test_no_token_is_in_any_file(everything: dict[str, Path]) -> None:
    for path in everything.values():
        text = path.read_text()
        assert not [value for value in PLANTED.values() if value in text], path


@pytest.mark.slow
def test_shellcheck_and_bash_accept_the_scripts(everything: dict[str, Path]) -> None:
    scripts = [str(path) for name, path in everything.items() if name.endswith((".sh", ".sbatch"))]
    assert scripts
    checked = subprocess.run(
        [Path(sys.executable).parent / "shellcheck", *scripts], capture_output=True, text=True
    )
    assert checked.returncode == 0, checked.stdout
    for script in scripts:
        assert subprocess.run(["bash", "-n", script]).returncode == 0


@pytest.mark.slow
def test_kubernetes_accepts_the_jobs(everything: dict[str, Path]) -> None:
    import kubernetes_validate

    jobs = [path for name, path in everything.items() if name.endswith("kubernetes/job.yaml")]
    assert jobs
    for path in jobs:
        kubernetes_validate.validate(yaml.safe_load(path.read_text()), "1.31", strict=True)


@pytest.mark.long
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
        ("ssh", OPTIONS, {"host": "-oProxyCommand=x"}, "launch.bad_host"),
        ("ssh", OPTIONS, {"host": "me@-x"}, "launch.bad_host"),
        ("ssh", OPTIONS, {"host": "me@192.0.2.1:22"}, "launch.bad_host"),
        ("ssh", Options(tier="real"), {}, "launch.needs_store"),
        ("ssh", Options(tier="real", store="/mnt/x"), {}, "launch.needs_store"),
        ("skypilot", Options(tier="real", store="s3://b c/x"), {}, "launch.needs_store"),
        ("slurm", Options(tier="real", store="s3://key:word@b/x"), {}, "store.holds_key"),
        ("ssh", Options(tier="real", store="s3://b/x\nreboot"), {}, "store.holds_key"),
        ("kubernetes", OPTIONS, {"image": "x\ncommand: [y]"}, "launch.bad_image"),
        ("skypilot", OPTIONS, {"keep": True}, "launch.cannot_keep"),
        ("slurm", OPTIONS, {"keep": True}, "launch.cannot_keep"),
        ("kubernetes", OPTIONS, {"keep": True}, "launch.cannot_keep"),
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
    code = 2

    def check(name: str, options: Options, console: Console) -> int:
        checked.append(name)
        return code

    monkeypatch.setattr("tunebook.commands.launch.run_check", check)
    asked = replace(OPTIONS, smoke=True)
    assert launch("chat-lora", asked, order(on, dry=False), Console()) == 2, "the check found errors"
    assert checked.pop() == "chat-lora" and not (tmp_path / "record").exists(), "nothing was started"
    code = 0
    assert launch("chat-lora", asked, order(on, dry=False), Console()) == 0
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


@pytest.mark.slow
@pytest.mark.parametrize("run", [RUN, DEAF], ids=["saves", "too early to save"])
@pytest.mark.parametrize("signal_number", [signal.SIGUSR1, signal.SIGTERM])
def test_the_batch_script_saves_and_queues_again(signal_number: int, run: str, tmp_path: Path) -> None:
    stand_in(tmp_path, "tunebook", run)
    stand_in(tmp_path, "scontrol", '#!/bin/sh\necho "scontrol $*" >>"$RECORD"\n')
    stand_in(tmp_path, "sleep", '#!/bin/sh\n[ "$1" = 60 ] || exec /bin/sleep "$1"\n')
    text = generated("chat-lora", "slurm", tmp_path)["job.sbatch"]
    real = str(Path(sys.executable).with_name("tunebook"))  # the environment that launches
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


def rented(
    tmp_path: Path, codes: str, *, run: str = RUN, changes: tuple[tuple[str, str], ...] = (), **order: object
) -> tuple[int, list[str], str]:
    """Run the rented machine's script with stand-ins; return its exit code, what was started, its output."""
    made = stand_in(tmp_path, "run", run)
    stand_in(tmp_path, "docker", "#!/bin/sh\nexit 1\n")
    if not (tmp_path / "bin" / "make").exists():
        stand_in(tmp_path, "make", '#!/bin/sh\nmkdir -p .venv/bin && cp "$RUN" .venv/bin/tunebook\n')
    for name in ("shutdown", "sudo", "runpodctl"):
        stand_in(tmp_path, name, f'#!/bin/sh\necho "{name} $*" >>"$RECORD"\n')
    (tmp_path / "codes").write_text("\n".join(codes.split()) + "\n")
    text = generated("chat-lora", "ssh", tmp_path, **order)["machine.sh"]
    for before, after in changes:
        assert before in text
        text = text.replace(before, after)
    (tmp_path / "machine.sh").write_text(text)
    for name in ("recipes/chat-lora/recipe.yaml", "datasets/oasst2/dataset.yaml"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        if not (tmp_path / name).exists():
            shutil.copy(ROOT / name, tmp_path / name)
    environment = {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "RUNPOD_POD_ID": "pod9"}
    environment |= {"RECORD": str(tmp_path / "record"), "CODES": str(tmp_path / "codes"), "RUN": str(made)}
    command = ["bash", "machine.sh"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, timeout=30, capture_output=True, text=True)
    record = tmp_path / "record"
    return done.returncode, record.read_text().splitlines() if record.exists() else [], done.stdout


SWITCHED_OFF = "runpodctl stop pod pod9"
# What a run leaves: its last state is noted after everything else, or something was written after it.
SAVES = 'mkdir -p runs/chat-lora/1 && ln -sfn 1 runs/chat-lora/latest && touch -d "now + 1 second" '
UPLOADED = f"#!/bin/sh\n{SAVES}runs/chat-lora/1/store.json\n" + RUN.partition("\n")[2]
BEHIND = UPLOADED.replace("\ntrap", '\ntouch -d "now + 2 seconds" runs/chat-lora/1/log.txt\ntrap', 1)


@pytest.mark.parametrize("codes", ["75 75 0", "75 3"])
def test_a_rented_machine_goes_on_after_75_and_ends_with_its_run(codes: str, tmp_path: Path) -> None:
    code, said, _ = rented(tmp_path, codes)
    assert code == int(codes.split()[-1])
    assert said == ["started"] * len(codes.split()) + [SWITCHED_OFF]


@pytest.mark.parametrize(
    ("run", "off"), [(UPLOADED, True), (BEHIND, False), (RUN, False)], ids=["uploaded", "behind", "nothing"]
)
def test_a_failed_run_ends_the_machine_only_with_its_results_in_the_store(
    run: str, off: bool, tmp_path: Path
) -> None:
    code, said, output = rented(tmp_path, "4", run=run)
    assert (code, SWITCHED_OFF in said) == (4, off)
    assert ("stays on" in output) is not off
    assert off or "an hour" in output


def test_the_state_of_an_earlier_run_on_the_machine_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "runs/chat-lora/1").mkdir(parents=True)
    (tmp_path / "runs/chat-lora/latest").symlink_to("1")
    (tmp_path / "runs/chat-lora/1/store.json").write_text("{}")
    os.utime(tmp_path / "runs/chat-lora/1/store.json", (1, 1))
    assert SWITCHED_OFF not in rented(tmp_path, "2")[1]


@pytest.mark.slow
def test_at_the_limit_the_run_saves_and_the_machine_ends(tmp_path: Path) -> None:
    recipe, asked = recipes.load_recipe("chat-lora"), order("ssh")
    seconds = job(recipe, OPTIONS, asked, choose(recipe, OPTIONS, asked), tmp_path)["seconds"]
    limit = ((f"left=$(({seconds} - SECONDS))", "left=$((2 - SECONDS))"),)
    code, said, _ = rented(tmp_path, "", run=UPLOADED, changes=limit)
    assert code == 124 and said == ["started", "saved", SWITCHED_OFF]


@pytest.mark.parametrize("broken", ["make", "rows"])
def test_a_machine_whose_set_up_failed_stays_on_and_says_so(broken: str, tmp_path: Path) -> None:
    if broken == "make":
        stand_in(tmp_path, "make", "#!/bin/sh\nexit 2\n")
    else:
        (tmp_path / "datasets/oasst2").mkdir(parents=True)
        (tmp_path / "datasets/oasst2/dataset.yaml").write_text("name: another\n")
    code, said, output = rented(tmp_path, "0")
    assert (code, said) == (1, [])
    assert "set-up failed" in output and "stays on" in output and " about $" in output


@pytest.mark.parametrize("on", ONS)
@pytest.mark.parametrize(
    ("option", "value", "target"), [("image", "r/t:1", "kubernetes"), ("host", "a@b", "ssh")]
)
def test_an_option_of_another_target_is_refused(on: On, option: str, value: str, target: str) -> None:
    if on == target:
        refuse_incomplete(OPTIONS, order(on, **{option: value}))
        return
    with pytest.raises(InputError) as caught:
        refuse_incomplete(OPTIONS, order(on, **{option: value}))
    assert caught.value.code == "launch.unused_option"
    assert f"{option.upper()}=" in str(caught.value) and f"ON={target}" in str(caught.value)


# Two values of every option of the command but NAME=, ON= and DRY=, which have tests of their own.
TWO_VALUES: dict[str, tuple[object, object]] = {
    "set": ("lora_dropout=0.1", "lora_dropout=0.2"),
    "model": ("Qwen/Qwen3-0.6B", "Qwen/Qwen3-1.7B"),
    "hardware": ("80gb", "48gb"),
    "seed": (7, 8),
    "steps": (10, 20),
    "eval": ("default", "full"),
    "store": ("s3://bucket/some", "s3://bucket/other"),
    "smoke": (True, False),
    "gpu": ("h100", "l40s"),
    "count": (1, 2),
    "price": (3.0, 4.0),
    "max_cost": (1000.0, 1.01),
    "image": ("registry.invalid/tunebook:1", "registry.invalid/tunebook:2"),
    "host": ("me@192.0.2.1", "me@192.0.2.2"),
    "keep": (False, True),
}
OF_RUN = frozenset("set model hardware seed steps eval store smoke".split())


def test_the_table_has_every_option_of_the_command() -> None:
    own = inspect.signature(launch_command).parameters.keys()
    assert {*TWO_VALUES, "name", "on", "dry"} == {*own}


@pytest.mark.slow
@pytest.mark.parametrize("on", ONS)
@pytest.mark.parametrize("option", TWO_VALUES)
def test_an_option_changes_what_is_run_or_is_refused_by_name(on: On, option: str, tmp_path: Path) -> None:
    """Comments do not count: they change nothing on the machine."""
    found = []
    for value in TWO_VALUES[option]:
        of_run = {option: value} if option in OF_RUN else {}
        rest = {} if option in OF_RUN else {option: value}
        try:
            files = generated("chat-lora", on, tmp_path, replace(OPTIONS, **of_run), **rest)  # type: ignore[arg-type]
        except InputError as error:
            assert f"{option.upper()}=" in str(error)
            return
        lines = "\n".join(files.values()).splitlines()
        found.append([line for line in lines if not line.startswith("# ")])
    assert found[0] != found[1]


def test_keep_never_switches_off(tmp_path: Path) -> None:
    code, said, output = rented(tmp_path, "0", keep=True)
    assert (code, said) == (0, ["started"]) and "stays on: KEEP=1" in output
    assert "shutdown" not in (tmp_path / "machine.sh").read_text()


@pytest.mark.parametrize("on", ONS)
def test_the_end_of_the_machine_is_said_first(on: On, tmp_path: Path) -> None:
    words = ["launch", "chat-lora", "--on", on, "--gpu", "h100", "--dry", "--store", "s3://b/x"]
    words += {"ssh": ["--host", "me@192.0.2.1"], "kubernetes": ["--image", "x/y:1"]}.get(on, [])
    result = in_process(*words, TUNEBOOK_RUNS=str(tmp_path))
    assert result.returncode == 0, result.stderr
    first = [(line.split() or [""])[0] for line in result.stdout.splitlines()]
    assert first.index("end") < first.index("price") < first.index("rows") < first.index("file")
    assert ("spot machine" in result.stdout) == (on == "skypilot")


# Rows of one's own


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout in a folder of its own, with a recipe and a dataset of three files."""
    root = tmp_path / "clone"
    shutil.copytree(ROOT / "recipes" / "chat-lora", root / "recipes" / "own")
    recipe = root / "recipes" / "own" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("datasets/oasst2/", "datasets/own/"))
    shutil.copytree(ROOT / "datasets" / "kettlewick-chat" / "source", root / "datasets" / "own" / "source")
    text = (ROOT / "datasets" / "kettlewick-chat" / "dataset.yaml").read_text()
    (root / "datasets" / "own" / "dataset.yaml").write_text(
        text.replace("name: kettlewick-chat", "name: own")
    )
    monkeypatch.setattr(rows, "ROOT", root)
    monkeypatch.setenv("TUNEBOOK_RECIPES", str(root / "recipes"))
    monkeypatch.setenv("TUNEBOOK_DATASETS", str(root / "datasets"))
    monkeypatch.delenv("TUNEBOOK_SOURCES", raising=False)
    return root


def source_line(own: Path, text: str) -> int:
    """Set the file of train in dataset.yaml, and return its line."""
    path = own / "datasets" / "own" / "dataset.yaml"
    lines = path.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.strip().startswith("files: {train:"))
    lines[at] = f"  files: {{train: {text}, dev: source/dev.jsonl, test: source/test.jsonl}}"
    path.write_text("\n".join(lines) + "\n")
    return at + 1


@pytest.mark.slow
@pytest.mark.parametrize("on", ["skypilot", "kubernetes", "ssh"])
@pytest.mark.parametrize("case", ["absolute", "above", "missing", "link", "folder", "left out", "large"])
def test_rows_that_the_machine_would_not_have_are_refused(
    on: On, case: str, own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, home = tmp_path / "elsewhere" / "my rows.jsonl", own / "datasets" / "own" / "source"
    elsewhere.parent.mkdir()
    shutil.copy(home / "train.jsonl", elsewhere)
    if case == "link":
        (home / "linked.jsonl").symlink_to(elsewhere)
    if case == "left out":
        (own / "runs").mkdir()
        shutil.copy(elsewhere, own / "runs" / "rows.jsonl")
    if case == "large":
        monkeypatch.setattr(rows, "LARGE", 10)
    place = {
        "above": "../../../elsewhere/my rows.jsonl",
        "missing": "source/nothing.jsonl",
        "link": "source/linked.jsonl",
        "folder": str(elsewhere.parent),
        "left out": "../../runs/rows.jsonl",
    }.get(case, str(elsewhere))
    line = source_line(own, f"'{place}'")
    with pytest.raises(InputError) as caught:
        rows.needed(recipes.load_recipe("own"), on)
    (problem,) = caught.value.problems
    assert (problem.code, problem.key) == ("launch.rows_outside", "source.files.train")
    assert str(problem.file).endswith("datasets/own/dataset.yaml") and problem.line == line
    assert Path(place).name in str(problem)
    assert case == "missing" or "datasets/own/source" in str(problem)
    assert (case != "large") or rows.file_sha256(elsewhere)[:12] in str(problem)


def test_every_bad_file_is_named_at_once(own: Path) -> None:
    for name in ("dev", "test"):
        (own / "datasets" / "own" / "source" / f"{name}.jsonl").unlink()
    with pytest.raises(InputError) as caught:
        rows.needed(recipes.load_recipe("own"), "ssh")
    assert [problem.key for problem in caught.value.problems] == ["source.files.dev", "source.files.test"]


def test_slurm_reads_rows_in_place(own: Path, tmp_path: Path) -> None:
    shutil.copy(own / "datasets" / "own" / "source" / "train.jsonl", tmp_path / "far.jsonl")
    source_line(own, str(tmp_path / "far.jsonl"))
    found = rows.hashed(rows.needed(recipes.load_recipe("own"), "slurm"))
    assert found[0].name == str(tmp_path / "far.jsonl")


def test_what_git_ignores_travels_but_not_with_skypilot(own: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(own)], check=True)
    (own / ".gitignore").write_text("train.jsonl\n")
    recipe = recipes.load_recipe("own")
    assert len(rows.needed(recipe, "ssh")) == len(rows.needed(recipe, "kubernetes")) == 5
    with pytest.raises(InputError) as caught:
        rows.needed(recipe, "skypilot")
    assert [(one.code, one.key) for one in caught.value.problems] == [
        ("launch.rows_outside", "source.files.train")
    ]
    subprocess.run(["git", "-C", str(own), "add", "--force", "datasets"], check=True)
    assert len(rows.needed(recipe, "skypilot")) == 5, "what git tracks is uploaded"


def test_a_recipe_or_a_model_outside_the_checkout_is_refused(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        rows.refuse_model_outside(str(tmp_path / "model"), "ssh")
    assert caught.value.code == "launch.model_outside"
    rows.refuse_model_outside(str(tmp_path / "model"), "slurm")
    rows.refuse_model_outside("Qwen/Qwen3-1.7B", "ssh")
    monkeypatch.setattr(rows, "ROOT", own / "datasets")
    with pytest.raises(InputError) as caught:
        rows.needed(recipes.load_recipe("own"), "ssh")
    assert [str(one.file) for one in caught.value.problems] == [str(own / "recipes" / "own" / "recipe.yaml")]


def test_each_row_file_is_listed_with_size_and_hash(own: Path) -> None:
    recipe = recipes.load_recipe("own")
    told = rows.describe(recipe, rows.hashed(rows.needed(recipe, "ssh")), "ssh")
    for split, line in zip(("train", "dev", "test"), told, strict=False):
        path = own / "datasets" / "own" / "source" / f"{split}.jsonl"
        assert path.name in line and rows.size(path.stat().st_size) in line
        assert f"SHA-256 {rows.file_sha256(path)[:12]}" in line
    assert told[3].startswith("3 files, ") and len(told) == 4


def test_every_target_compares_the_files_before_training(tmp_path: Path) -> None:
    sums = subprocess.run(
        ["sha256sum", "recipes/chat-lora/recipe.yaml", "datasets/oasst2/dataset.yaml"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    task = yaml.safe_load(generated("chat-lora", "skypilot", tmp_path)["task.yaml"])
    pod = yaml.safe_load(generated("chat-lora", "kubernetes", tmp_path)["job.yaml"])["spec"]["template"]
    (first,) = pod["spec"]["initContainers"]
    scripts = [
        ["bash", "-c", task["setup"].replace("make setup", "")],
        [*first["command"], *first["args"]],
    ]
    for words in scripts:
        assert all(line in "\n".join(words) for line in sums)
        assert subprocess.run(words, cwd=ROOT, capture_output=True).returncode == 0
        assert subprocess.run(words, cwd=tmp_path, capture_output=True).returncode == 1
    assert all(line in generated("chat-lora", "slurm", tmp_path)["job.sbatch"] for line in sums)


def test_a_launch_without_its_command_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path))
    with pytest.raises(MachineError, match="sbatch not found on PATH"):
        launch("chat-lora", replace(OPTIONS, smoke=True), order("slurm", dry=False), Console())


# What has run before a machine is rented


@pytest.mark.parametrize("smoke", [None, False])
def test_nothing_is_rented_for_a_config_that_has_not_run(
    smoke: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path))
    with pytest.raises(InputError) as caught:
        launch("chat-lora", replace(OPTIONS, smoke=smoke), order("slurm", dry=False), Console())
    assert caught.value.code == "launch.not_rehearsed"
    assert "REHEARSE=1" in str(caught.value) and "SMOKE=1" in str(caught.value)
    assert not list(tmp_path.rglob("job.sbatch"))


def test_a_passed_rehearsal_of_this_very_config_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNEBOOK_RUNS", str(tmp_path))
    recipe = recipes.load_recipe("chat-lora")

    def said(options: Options) -> str:
        return before_renting(recipe, options, choose(recipe, options, order("slurm")), True)

    real = resolve(recipe, replace(OPTIONS, hardware="24gb"), for_this_machine=False)
    key = rehearsal_config.key(real, load_dataset_config(recipe.dataset))
    home = rehearsal.begin("chat-lora", key)
    assert said(OPTIONS).startswith("none"), "it still runs"
    rehearsal.passed(home, 60.0, ["model: x"], ["bf16", "tf32"], "$1")
    assert said(OPTIONS).startswith("passed") and "2 points" in said(OPTIONS)
    assert said(replace(OPTIONS, seed=8)).startswith("passed")
    assert said(replace(OPTIONS, set="lora_r=64")).startswith("none")
    rehearsal.failed(home, "train failed")
    assert said(OPTIONS).startswith("none")


def test_dry_prints_files_price_and_command_and_no_token(tmp_path: Path) -> None:
    words = ["launch", "classify-lora", "--on", "slurm", "--gpu", "h100", "--dry"]
    result = tunebook(*words, TUNEBOOK_RUNS=str(tmp_path), **PLANTED)
    assert result.returncode == 0, result.stderr
    for said in ("price     $", "#SBATCH --time=", "would check the recipe, then run: sbatch"):
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


NASTY = [
    "a\nname: evil",
    "a\n      command: [evil]",
    'it\'s "both"',
    "$(touch evil)",
    "`touch evil`",
    "-oProxyCommand=touch evil",
    "a; touch evil #",
    "{{ 7 * 7 }}",
    "a\u2028b\x85c\x7fd",
    "\\",
    "a: b # c",
    "ROWS\ntouch evil",
]


@pytest.mark.slow
@pytest.mark.parametrize("nasty", NASTY)
@pytest.mark.parametrize("on", ONS)
def test_a_value_is_one_word_whatever_it_holds(on: On, nasty: str, tmp_path: Path) -> None:
    """Only the run's own words differ from a launch with a plain value."""
    recipe, asked = recipes.load_recipe("chat-lora"), order(on)
    plan = choose(recipe, OPTIONS, asked)
    texts_of = {}
    for value in ("plain", nasty):
        options = replace(OPTIONS, set=f"wandb_name={value}", seed=None)
        values = job(recipe, options, asked, plan, tmp_path)
        assert f"wandb_name={value}" in values["words"]
        files = render(on, values)
        texts_of[value] = files
        for name, text in files.items():
            if name.endswith(".yaml"):
                made = yaml.safe_load(text)
                if on == "kubernetes":
                    (container,) = made["spec"]["template"]["spec"]["containers"]
                    assert container.pop("args") == ["tunebook", *values["words"]]
                else:
                    run = made.pop("run")
                    assert shlex.split(run) == ["exec", ".venv/bin/tunebook", *values["words"]]
                files[name] = repr(made)
            else:
                assert subprocess.run(["bash", "-n"], input=text, text=True).returncode == 0
                files[name] = text.replace(shlex.join(values["words"]), "WORDS")
                assert ("WORDS" in files[name]) == (name in ("job.sbatch", "machine.sh"))
    assert texts_of["plain"] == texts_of[nasty]


@pytest.mark.parametrize(
    "store",
    [
        "s3://key:word@bucket/x",
        "s3://AKIDEXAMPLE@bucket/x",
        "s3://bucket/x?X-Amz-Signature=abcdef",
        "az://container/x?sv=1&sig=abc",
        "s3://bucket/x\n  evil: yes",
        "s3://bucket/x\x7f",
        "simplecache::s3://bucket/x",
        "s3://[bucket/x",
        "s3://bucket/" + "hf_" + "aB3dE5gH7jK9mN1pQ2rS4tU6vW8xY0zAbC",
    ],
)
def test_a_key_in_the_store_is_refused_everywhere(store: str, tmp_path: Path) -> None:
    from tunebook.runs.storage import Storage

    for on in ONS:
        with pytest.raises(InputError) as caught:
            generated("chat-lora", on, tmp_path, replace(OPTIONS, store=store))
        assert caught.value.code == "store.holds_key"
    with pytest.raises(InputError) as caught:
        Storage(store)
    assert caught.value.code == "store.holds_key" and "key:word" not in str(caught.value)


@pytest.mark.parametrize("nasty", [*NASTY, "-oProxyCommand=x", "me@-oProxyCommand=x", "a b", "me@h:22", ""])
def test_a_host_is_a_name_and_no_option(nasty: str, tmp_path: Path) -> None:
    for host in (nasty, f"me@{nasty}", f"{nasty}@host"):
        if host in ("host", "@host", "me@"):
            continue
        with pytest.raises(InputError) as caught:
            generated("chat-lora", "ssh", tmp_path, host=host)
        assert caught.value.code == "launch.bad_host"


@pytest.mark.parametrize("nasty", [*NASTY, "x y", "x\tcommand: [y]"])
def test_an_image_is_a_name(nasty: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        generated("chat-lora", "kubernetes", tmp_path, image=nasty)
    assert caught.value.code == "launch.bad_image"
