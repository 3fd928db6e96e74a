"""One module a verb of the console entry; cli.py has their options. May import: everything."""
