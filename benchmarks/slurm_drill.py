"""Run a generated batch script under a one-node Slurm on this machine: submit, signal, requeue, resume.

Needs root and Debian's packages slurmctld, slurmd, munge and slurm-client. A tiny random model trains on the
CPU. The script is the one that `make launch ON=slurm` writes, with three changes: it requests no GPU, the
command is a trial run, and the interpreter is this one. During training the batch shell gets USR1, which
Slurm sends before the time limit; the job must save, requeue itself, resume, and end with the metrics of an
undisturbed run.

    .venv/bin/python benchmarks/slurm_drill.py
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from preemption_drill import DOC, Drill, equal, paragraph

from tunebook.commands.launch import Order, choose, job, render
from tunebook.config import recipe as recipes
from tunebook.config.overrides import Options
from tunebook.core.paths import ROOT
from tunebook.report.markdown_blocks import fill

TARGET = ROOT / "benchmarks" / "results" / "slurm_drill.json"

CONFIG = """
ClusterName=drill
SlurmctldHost=localhost(127.0.0.1)
AuthType=auth/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SlurmctldPort=16817
SlurmdPort=16818
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
JobRequeue=1
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=4000
PartitionName=drill Nodes=localhost Default=YES MaxTime=INFINITE State=UP
"""


def run(*words: str) -> str:
    """Run a command and return its output."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def start_slurm(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "slurm.conf").write_text(CONFIG.format(folder=folder, cpus=os.cpu_count()))
    os.environ["SLURM_CONF"] = str(folder / "slurm.conf")
    run("install", "-d", "-o", "munge", "-g", "munge", "-m", "0755", "/run/munge")
    run("runuser", "-u", "munge", "--", "munged")
    run("slurmctld")
    time.sleep(3)
    run("slurmd", "-N", "localhost")
    for _ in range(60):
        if "idle" in run("sinfo", "--noheader", "--format=%t"):
            return
        time.sleep(1)
    raise SystemExit(f"the node does not come up: {folder}")


def stop_slurm() -> None:
    subprocess.run(["scontrol", "shutdown"])
    subprocess.run(["sh", "-c", "kill $(cat /run/munge/munged.pid)"])


def state(number: str) -> tuple[str, int, int]:
    """Return the state of a job, how often it was restarted, and its exit code."""
    said = run("scontrol", "show", "job", number)
    found = [re.search(rf"{key}=(\w+)", said) for key in ("JobState", "Restarts", "ExitCode")]
    assert found[0] and found[1] and found[2]
    return found[0][1], int(found[1][1]), int(found[2][1])


def table(measured: dict[str, Any]) -> str:
    """Return the paragraph of docs/rented-gpus.md."""
    return paragraph(
        f"A real Slurm of one node ({measured['slurm']}) ran the generated batch script with a tiny model on "
        f"the CPU (`benchmarks/slurm_drill.py`). Signalled after step {measured['stopped_after_step']} of "
        f"{measured['steps']}, the job saved and was back in the queue after "
        f"{measured['seconds_from_signal_to_requeue']:.1f} s. Slurm started it again; it resumed from "
        f"what it had saved and ended with exit code {measured['exit_code']}.",
        measured["equal"],
    )


def script(drill: Drill, folder: Path) -> str:
    """Return the generated batch script, for this machine."""
    options = Options(tier="real", set=drill.changes())
    recipe, order = recipes.load_recipe("classify-lora"), Order("slurm", gpu="h100", dry=True)
    values = job(recipe, options, order, choose(recipe, options, order), folder)
    values |= {"tunebook": shlex.join([*drill.prefix, sys.executable, "-m", "tunebook.commands.cli"])}
    values |= {"words": shlex.join(drill.words(None))}
    text = render("slurm", values)["job.sbatch"]
    return re.sub(r"(?m)^#SBATCH --gpus-per-node=.*\n", "", text)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=TARGET)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--prefix", default="", help="prefix of each run, for example `nice -n 19`")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder, prefix = Path(scratch), shlex.split(options.prefix)
        base = folder / "tiny"
        make = "import pathlib, sys; from tests.support import tiny; tiny.save(pathlib.Path(sys.argv[1]))"
        subprocess.run([*prefix, sys.executable, "-c", make, str(base)], cwd=ROOT, check=True)
        alone, drill = (Drill(folder / name, base, options.steps, prefix) for name in ("alone", "drill"))
        if alone.start(None).wait() not in (0, 3):
            raise SystemExit("the undisturbed run failed")
        (folder / "job.sbatch").write_text(script(drill, folder))
        os.environ["TUNEBOOK_RUNS"] = str(drill.runs)
        start_slurm(folder / "slurm")
        try:
            number = run("sbatch", "--parsable", str(folder / "job.sbatch")).strip()
            while len(drill.trained()) < options.steps // 4:
                time.sleep(0.1)
            sent = time.monotonic()
            run("scancel", "--batch", "--signal=USR1", number)
            while state(number)[1] == 0:
                time.sleep(0.5)
            queued = time.monotonic() - sent
            reached = drill.trained()[-1]
            while state(number)[0] not in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT"):
                time.sleep(2)
            took = time.monotonic() - sent
            ended = state(number)
        finally:
            stop_slurm()
            for log in folder.glob("*.log"):
                print(log.read_text())
        trained = drill.trained()
        result = {
            "what": "batch script of `make launch ON=slurm`, one-node Slurm, tiny random model on the CPU",
            "slurm": run("sbatch", "--version").strip(),
            "steps": options.steps,
            "stopped_after_step": reached,
            "went_on_at_step": trained[trained.index(reached) + 1],
            "seconds_from_signal_to_requeue": round(queued, 1),
            "seconds_from_signal_to_end": round(took, 1),
            "exit_code": ended[2],
            "restarts": ended[1],
            "equal": equal(alone, drill),
        }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    fill(DOC, "slurm", table(result))
    print(json.dumps(result, indent=1))
    return 0 if all(result["equal"].values()) and ended[1] == 1 else 1


if __name__ == "__main__":
    raise SystemExit(main())
