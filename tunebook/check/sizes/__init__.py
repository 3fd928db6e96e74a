"""Findings about the lengths and numbers of rows, which need all rows measured."""
