"""
References of a JSON Schema, followed.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from fustor_common.json_schema import followed, inlined


class Leaf(BaseModel):
    """
    A leaf.
    """

    size: int


class Tree(BaseModel):
    """
    A tree.
    """

    leaf: Leaf = Field(Leaf(size=1), description="The one at the top.")
    trees: list[Tree] = []


def test_a_reference_stands_for_its_definition_and_what_is_said_beside_it_wins() -> None:
    root: dict[str, Any] = {
        "$defs": {"a": {"$ref": "#/$defs/b", "title": "A"}, "b": {"type": "integer", "title": "B"}},
    }
    assert followed({"$ref": "#/$defs/a", "default": 3}, root) == {"type": "integer", "title": "A", "default": 3}
    assert followed({"type": "string"}, root) == {"type": "string"}
    assert followed({"$ref": "#/$defs/c"}, {"$defs": {"c": {"$ref": "#/$defs/c"}}}) == {}, "it never ends otherwise"


def test_a_schema_made_to_stand_by_itself_has_no_references_also_when_it_holds_itself() -> None:
    made = inlined(Tree.model_json_schema())
    assert "$ref" not in str(made) and "$defs" not in made
    leaf = made["properties"]["leaf"]
    assert leaf["properties"]["size"]["type"] == "integer" and leaf["description"] == "The one at the top."
    assert made["properties"]["trees"]["items"] == {}, "anything, from the second time on"
    assert inlined({"type": "object", "properties": {"$ref": {"type": "string"}}})["properties"]["$ref"]
