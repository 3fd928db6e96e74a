"""Any OpenAI-compatible endpoint as a further contender, and as a judge."""
