"""Whether a config does what it says: rules about steps, stopping, the base's names and the evaluated model.

In: a resolved config. Out: findings, by a function that each rule is given. May import: check's findings, and
what check may.
"""

from tunebook.check.promises import chat_template, names, same_model, schedule, stopping

RULES = (*schedule.RULES, *stopping.RULES, *names.RULES, *same_model.RULES, *chat_template.RULES)
