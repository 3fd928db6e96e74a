"""`tunebook advise`: what to try first. counts.py counts facts in the rows, command.py is the command."""
