"""On PYTHONPATH: write what each Python process asks of the network to the file NETWORK_SEEN."""

import os
import sys


def _heard(event: str, arguments: tuple) -> None:
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        asked = f"connect {arguments[1][0]}:{arguments[1][1]}"
    elif event == "socket.getaddrinfo":
        asked = f"name {arguments[0]}:{arguments[1]}"
    else:
        return
    with open(os.environ["NETWORK_SEEN"], "a") as file:
        file.write(f"{asked} {' '.join(sys.orig_argv[1:4])}\n")


if os.environ.get("NETWORK_SEEN"):
    sys.addaudithook(_heard)
