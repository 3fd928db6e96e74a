"""The verbs of the command line, one module each; cli.py lists them. May import: everything."""
