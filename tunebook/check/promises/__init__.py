"""Whether a config does what it says: rules about steps, stopping, names in the base model, and the evaluated
model.

In: a resolved config. Out: findings, added through the function passed to each rule. May import: check's
findings, and what check may import.
"""

from tunebook.check.promises import chat_template, names, same_model, schedule, stopping

RULES = (*schedule.RULES, *stopping.RULES, *names.RULES, *same_model.RULES, *chat_template.RULES)
