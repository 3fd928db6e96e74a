"""Ways of tuning that Axolotl has no adapter for. docs/adapters.md describes each."""
