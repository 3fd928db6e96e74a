"""Arguments and options that several commands of the console entry share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Name = Annotated[str, typer.Argument(help="a folder in recipes/")]
Set = Annotated[str, typer.Option("--set", help='overrides: "learning_rate=1e-4 lora_r=32"')]
Seed = Annotated[int | None, typer.Option(help="seed of data sampling, first weights and order")]
Steps = Annotated[int | None, typer.Option(min=1, help="stop training after so many optimizer steps")]
Tier = Annotated[Literal["real", "trial"] | None, typer.Option(help="default: real with a GPU")]
Hardware = Annotated[str | None, typer.Option(help="an overlay in hardware/; default: guessed")]
Gpus = Annotated[int | None, typer.Option(min=1, help="how many GPUs to use; default: all")]
FromRun = Annotated[str | None, typer.Option(help="a run whose adapter to go on from")]
Rows = Annotated[str, typer.Option(help="at most so many rows, in whole groups: 200, or train=200,test=500")]
Evaluation = Annotated[Literal["quick", "default", "full"], typer.Option("--eval", help="quick: dev only")]
Store = Annotated[str | None, typer.Option(help="where runs are kept: s3://, gs://, az:// or a folder")]
Smoke = Annotated[
    bool | None,
    typer.Option(
        "--smoke/--no-smoke", help="five steps, a save and a reload first; default: on the real tier"
    ),
]
Beside = Annotated[str, typer.Option(help="other models to ask the same: folders or Hub ids")]
Model = Annotated[
    str | None, typer.Option(help="another base: a row of tunebook/models/models.yaml or a folder")
]
