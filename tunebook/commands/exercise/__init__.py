"""`tunebook exercise`: ten exercises. exercises.py has them and their checks, command.py is the command."""
