"""`tunebook advise`: what to try first. counts.py counts facts in the rows, ask.py prompts a model with some
of them (prompt_sample.py, in the process of ask_worker.py), command.py is the command."""
