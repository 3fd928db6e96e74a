"""What schedulers, notebooks and shells leave behind does not reach a training."""

from __future__ import annotations

import pytest

from tunebook.core.paths import child_environment
from tunebook.core.ranks import ignored, threads, wanted_threads, without_launchers

LEFT = """RANK LOCAL_RANK WORLD_SIZE LOCAL_WORLD_SIZE NODE_RANK GROUP_RANK MASTER_ADDR MASTER_PORT
ROLE_RANK TORCHELASTIC_RUN_ID OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_RANK PMI_RANK
PMI_SIZE PMIX_RANK MV2_COMM_WORLD_RANK MPI_LOCALRANKID ACCELERATE_USE_FSDP ACCELERATE_MIXED_PRECISION
ACCELERATE_USE_DEEPSPEED ACCELERATE_DYNAMO_BACKEND ACCELERATE_CONFIG_FILE FSDP_SHARDING_STRATEGY
FSDP_CPU_RAM_EFFICIENT_LOADING DEEPSPEED_CONFIG SLURM_PROCID SLURM_LOCALID SLURM_NTASKS SLURM_NTASKS_PER_NODE
SLURM_NPROCS SLURM_NODEID AXOLOTL_NPROC AXOLOTL_DATASET_NUM_PROC MPLBACKEND PYTHONHOME PYTHONSAFEPATH
PYTHONOPTIMIZE""".split()
KEPT = """PATH HOME PYTHONPATH CUDA_VISIBLE_DEVICES HF_TOKEN HF_ENDPOINT HTTPS_PROXY SSL_CERT_FILE
WANDB_API_KEY SLURM_JOB_ID SLURM_CPUS_PER_TASK OMP_NUM_THREADS NCCL_DEBUG AXOLOTL_DO_NOT_TRACK
PYTHONFAULTHANDLER LANG TMPDIR TUNEBOOK_RUNS NODE_OPTIONS GROUP ROLE""".split()


def test_launchers_go_and_everything_else_stays() -> None:
    kept = without_launchers(dict.fromkeys([*LEFT, *KEPT], "1"))
    assert sorted(kept) == sorted(KEPT)


def test_srun_of_several_nodes_keeps_slurms() -> None:
    kept = without_launchers({"SLURM_NTASKS": "2", "RANK": "1"}, nodes=2)
    assert kept == {"SLURM_NTASKS": "2"}


@pytest.mark.parametrize("name", LEFT)
def test_no_child_has_them(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert name not in child_environment()


def test_what_was_meant_to_change_a_training_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*LEFT, "AXOLOTL_DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    assert ignored() == []
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("AXOLOTL_DO_NOT_TRACK", "1")
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    assert ignored() == ["ACCELERATE_MIXED_PRECISION"]


def test_libraries_find_a_home_and_a_name_where_the_person_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNEBOOK_CACHE", "/data/cache")
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("USER", raising=False)
    told = child_environment()
    assert told["HOME"] == "/data/cache" and told["USER"].isdecimal()
    monkeypatch.setenv("HOME", "/home/ada")
    assert child_environment()["HOME"] == "/home/ada"


def test_weights_and_biases_is_off_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_MODE", raising=False)
    assert child_environment()["WANDB_MODE"] == "disabled"
    assert "WANDB_MODE" not in child_environment(tracked=True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert child_environment(tracked=True)["WANDB_MODE"] == "offline"


@pytest.mark.parametrize(
    ("value", "said"),
    [("1", True), ("1,4", True), ("64", True), ("4", False), ("", False), ("0", False), ("many", False)],
)
def test_threads_that_torch_will_use_are_named_where_they_are_not_the_cores(
    value: str, said: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert bool(threads(4)) is said
    assert wanted_threads() == {"1": 1, "1,4": 1, "64": 64, "4": 4}.get(value)
