"""How to read a table file if the file itself is ambiguous: encoding, delimiter, header, sheet, quotes.

In: `source.table` of dataset.yaml, or options of `tunebook fork`. Out: a TableOptions, accepted by every
reader.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from tunebook.data.formats.encodings import known_encoding

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|"}
NAME_OF = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}


class TableOptions(BaseModel):
    """`source.table`: how to read a file. `header` is the line number of the column names, or `none` if the
    first line is a row (columns are then named column_1, column_2, ...); with `quotes: false`, `"` is an
    ordinary character."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    encoding: str | None = None
    delimiter: str | None = Field(default=None, min_length=1, max_length=9)
    header: int | Literal["none"] | None = None
    sheet: str | None = None
    quotes: bool = True

    @field_validator("encoding")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        return value and known_encoding(value)

    @field_validator("delimiter")
    @classmethod
    def _one_letter(cls, value: str | None) -> str | None:
        value = DELIMITERS.get(value or "", value)
        if value is not None and len(value) != 1:
            raise ValueError(f"must be one letter, or {', '.join(NAME_OF.values())}")
        return value

    @field_validator("header")
    @classmethod
    def _counted_from_one(cls, value: int | str | None) -> int | str | None:
        if isinstance(value, int) and value < 1:
            raise ValueError("must be a line number from 1, or none")
        return value


AS_IT_IS = TableOptions()
