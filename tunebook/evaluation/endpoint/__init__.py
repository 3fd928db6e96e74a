"""Any OpenAI-compatible endpoint as one more contender, and as judge."""
