"""`tunebook check`: what can be wrong with a run, found before anything is trained.

A run looks at its own config and machine (`check_config`, `check_machine`: well under a second, and only
errors stop it); the verb (`run_check`) looks at everything of the real run.
"""

from tunebook.check.config import check_config
from tunebook.check.machine import check_machine, validate_with_axolotl
from tunebook.check.verb import run_check

__all__ = ["check_config", "check_machine", "run_check", "validate_with_axolotl"]
