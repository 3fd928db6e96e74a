"""Fine-tuning recipes on Axolotl, each evaluated against its own base model."""
