"""
The steps that `SyncConfig.transforms` is made of: what happens to rows on their way from the source to the consumer.

Only their shape is checked here; the agent compiles them (`fustor_agent.transforms`). docs/how-to/transform-rows.md tells them at
length.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class _Step(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tables: list[str] = Field(
        default_factory=list,
        description="Only in these tables: globs of `table` or `schema.table`. Empty = in every table.",
    )


class FilterStep(_Step):
    """
    Keep only the rows for which an expression is true.
    """

    type: Literal["filter"]
    where: str = Field(min_length=1, description="The expression: `status != 'draft' and total >= 10`.")


class SelectStep(_Step):
    """
    Keep only these fields, and the key.
    """

    type: Literal["select"]
    fields: list[str] = Field(min_length=1, description="The fields to keep.")


class DropStep(_Step):
    """
    Leave fields out.
    """

    type: Literal["drop"]
    fields: list[str] = Field(min_length=1, description="The fields to leave out.")


class RenameStep(_Step):
    """
    Give fields other names.
    """

    type: Literal["rename"]
    fields: dict[str, str] = Field(min_length=1, description="The present name to the new one.")


class MaskStep(_Step):
    """
    Hide what is in fields. Null stays null.
    """

    type: Literal["mask"]
    fields: list[str] = Field(min_length=1, description="The fields to hide.")
    method: Literal["hash", "redact", "truncate"] = Field(
        description="hash: HMAC-SHA256 with the salt, in hex digits; redact: a fixed text; truncate: the first characters only."
    )
    salt: SecretStr | None = Field(
        None, description="For hash: a secret of at least 8 characters, `${ENV_NAME}` or `file:PATH`."
    )
    digits: int = Field(64, ge=16, le=64, description="For hash: so many hex digits of it.")
    length: int | None = Field(None, ge=0, le=1_000_000, description="For truncate: so many characters stay.")
    text: str = Field("***", description="For redact: the text.")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.method == "hash" and self.salt is None:
            raise ValueError("`method: hash` needs a `salt`")
        if self.method == "truncate" and self.length is None:
            raise ValueError("`method: truncate` needs a `length`")
        return self


class ConstantStep(_Step):
    """
    Add a field that has the same value in every row.
    """

    type: Literal["constant"]
    to: str = Field(min_length=1, description="Name of the field.")
    value: str | int | float | bool | None = Field(description="Its value.")


class DeriveStep(_Step):
    """
    Add a field that is computed from others.
    """

    type: Literal["derive"]
    to: str = Field(min_length=1, description="Name of the field.")
    value: str = Field(min_length=1, description="The expression: `concat(first, ' ', last)`.")


Transform = Annotated[
    FilterStep | SelectStep | DropStep | RenameStep | MaskStep | ConstantStep | DeriveStep, Field(discriminator="type")
]
