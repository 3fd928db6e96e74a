"""Tool calls in other forms than OpenAI's: in the text (Hermes), or parts of a turn (Anthropic, Gemini).

In: a text or a turn. Out: calls, or turns in OpenAI's form. Imports formats/values.py and core only.
"""
