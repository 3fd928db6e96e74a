"""The YAML keys of the plugin `tunebook.plugins.Adapters`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field


class AdapterArguments(BaseModel):
    """One flat key per option, with PEFT's name if PEFT has the option."""

    num_virtual_tokens: int | None = Field(default=None, ge=1)
    """Length of the trained prompt or prefix, in tokens."""
    prompt_tuning_init: Literal["RANDOM", "SAMPLE_VOCAB", "TEXT"] | None = None
    """prompt_tuning: initialize from noise, from embeddings of random words, or from embeddings of a text."""
    prompt_tuning_init_text: str | None = None
    """The text for `prompt_tuning_init: TEXT`, repeated or cut to the number of virtual tokens."""
    prefix_init_std: float | None = Field(default=None, gt=0)
    """prefix_tuning: standard deviation of the initial keys and values around 0; PEFT's default is 1."""
    prefix_projection: bool | None = None
    """prefix_tuning: train the prefix through a two-layer network, which is discarded afterwards."""
    encoder_hidden_size: int | None = Field(default=None, ge=1)
    """p_tuning, and prefix_tuning with projection: width of the network that generates the vectors."""
    encoder_reparameterization_type: Literal["MLP", "LSTM"] | None = None
    """p_tuning: kind of that network."""
    encoder_num_layers: int | None = Field(default=None, ge=1)
    """p_tuning with LSTM: number of LSTM layers."""
    encoder_dropout: float | None = Field(default=None, ge=0, lt=1)
    """p_tuning with LSTM: dropout probability between LSTM layers."""
    ia3_target_modules: list[str] | None = None
    """ia3: linear layers that are scaled."""
    ia3_feedforward_modules: list[str] | None = None
    """ia3: those of ia3_target_modules whose input is scaled instead of the output."""
    bottleneck_size: int | None = Field(default=None, ge=1)
    """bottleneck: width of the adapter."""
    bottleneck_target_modules: list[str] | None = None
    """bottleneck: linear layers that are followed by an adapter."""
