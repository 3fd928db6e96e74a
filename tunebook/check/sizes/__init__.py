"""What lengths and numbers of rows mean for a run: findings of tunebook check that need all rows measured."""
