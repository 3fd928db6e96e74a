"""`tunebook advise`: what to try first with your rows. counts.py looks at them, command.py is the verb."""
