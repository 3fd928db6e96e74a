"""The plugin's fine-tuning methods and the properties of each. Needs neither torch nor PEFT."""

from __future__ import annotations

from dataclasses import dataclass

from tunebook.core.files import AxolotlConfig

ADAPTERS_PLUGIN = "tunebook.plugins.Adapters"
LORA = ("lora", "qlora")
# Names that recipes used before every plugin was called tunebook.plugins.NAME.
OWN_PLUGINS = tuple(
    f"tunebook.plugins.{name}"
    for name in "SeededInit TokenMean Float32Weights CPUArguments PreferencePrompts Progress Measure "
    "Adapters ClassificationHead LoftQ TextOnly Thinking DevMetric".split()
)
RENAMED_PLUGINS = {
    "tunebook.adapters.plugin.Adapters": ADAPTERS_PLUGIN,
    "tunebook.head.plugin.ClassificationHead": "tunebook.plugins.ClassificationHead",
    "tunebook.loftq.LoftQ": "tunebook.plugins.LoftQ",
    "tunebook.dev_metric.DevMetric": "tunebook.plugins.DevMetric",
}


@dataclass(frozen=True)
class Method:
    """A value of `adapter:`. `needs` lists its required keys, `takes` its optional ones; `virtual`: it trains
    vectors that precede the text and leaves every layer unchanged."""

    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    virtual: bool = False
    merges: bool = False


METHODS = {
    "prompt_tuning": Method(
        ("num_virtual_tokens",), ("prompt_tuning_init", "prompt_tuning_init_text"), virtual=True
    ),
    "p_tuning": Method(
        ("num_virtual_tokens", "encoder_hidden_size"),
        ("encoder_reparameterization_type", "encoder_num_layers", "encoder_dropout"),
        virtual=True,
    ),
    "prefix_tuning": Method(
        ("num_virtual_tokens",), ("prefix_projection", "encoder_hidden_size", "prefix_init_std"), virtual=True
    ),
    "ia3": Method((), ("ia3_target_modules", "ia3_feedforward_modules"), merges=True),
    "bottleneck": Method(("bottleneck_size",), ("bottleneck_target_modules", "peft_layers_to_transform")),
}


def merge_refusal(adapter: str) -> str | None:
    """Return why an adapter of this method cannot be merged into its base model, or None if it can."""
    method = METHODS.get(adapter)
    if method is None or method.merges:
        return None
    if method.virtual:
        return (
            f"{adapter} trains vectors that precede the text, and no weight of the base model can hold them."
        )
    return f"{adapter} adds layers with a nonlinearity, and no weight of the base model can hold them."


def has_encoder(config: AxolotlConfig) -> bool:
    """Return whether a network generates the virtual tokens during training; PEFT saves its output, not the
    network."""
    projected = config.get("adapter") == "prefix_tuning" and config.get("prefix_projection")
    return config.get("adapter") == "p_tuning" or bool(projected)


HEAD_PLUGIN = "tunebook.plugins.ClassificationHead"


HEAD_MODEL_TYPE = "AutoModelForSequenceClassification"


def uses_head(config: AxolotlConfig) -> bool:
    """Return whether `config` trains a classification head."""
    return HEAD_PLUGIN in (config.get("plugins") or [])
