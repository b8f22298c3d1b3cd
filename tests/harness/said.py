"""
What a package says in its errors and outcomes, read from its code: templates, a value in them as `{}`.

Found are texts that are written where an error, an outcome or a problem is made; those that reach it by a name (a constant, a local variable,
the argument of a function that makes the error); and both sides of an `if` or an `or`. What is put together otherwise can't be read off.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final

HOLE: Final = "{}"
MAKERS: Final[Mapping[str, tuple[int, ...]]] = {
    "Outcome": (1,),
    "Finding": (1, 2),
    "Problem": (4, 5),
    "Fault": (1, 2),
    "Plugin": (3,),
    "Uncomputable": (0,),
    "problems.add": (1, 2),
    "notes.append": (0,),
    "lacks.append": (0,),
    "wrong.append": (0,),
    "super().__init__": (0,),
}
"""
What carries texts to people besides errors, and where among its arguments they are.
"""
TELLERS: Final = frozenset(
    [
        "__str__",
        "_why",
        "_why_not",
        "_why_snapshot",
        "why_not",
        "check_connection",
        "check_rights",
        "check_settings",
        "disabled_reason",
        "operators.kind_of",
        "run",
        "test_connection",
        "whole_updates",
    ]
)
"""
Functions whose results are told to people; with their module where others are called so, too.
"""
NAMED: Final = ("hint", "default_hint", "message", "reason", "what", "problem")
PARTS: Final = ("what", "told", "note", "why", "said")
"""
Variables that hold a part of a text.
"""
CARRIED: Final = ("message", "why", "what", "doing", "said")
"""
Parameters of functions that put them into a text and are texts themselves.
"""


_Def = ast.FunctionDef | ast.AsyncFunctionDef


def error_classes(trees: Iterable[ast.Module]) -> set[str]:
    """
    Return the names of `FustorError` and of all classes below it.
    """
    bases = {
        node.name: {getattr(base, "id", getattr(base, "attr", "")) for base in node.bases}
        for tree in trees
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {"FustorError"}
    while more := {name for name, above in bases.items() if above & found} - found:
        found |= more
    return found


def says_something(template: str) -> bool:
    """
    Tell whether words are left of a template without its values, other than SQL.
    """
    is_sql = re.match(r"(SELECT|SHOW|SET) ", template) is not None
    is_value = template in ("true", "false", "null")
    return not is_sql and not is_value and re.search(r"[a-z]{3}", template.replace(HOLE, "")) is not None


class Package:
    """
    The modules of one package.

    Args:
        folder: The package's.
        errors: Names of the classes of errors.
    """

    def __init__(self, folder: Path, errors: set[str]) -> None:
        files = [file for file in sorted(folder.rglob("*.py")) if "testing" not in file.relative_to(folder).parts]
        self._trees = [ast.parse(file.read_text("utf-8")) for file in files]
        self._modules = {tree: file.stem for tree, file in zip(self._trees, files, strict=True)}
        self._module = ""
        self._errors = errors
        self._constants: dict[str, list[ast.expr]] = defaultdict(list)
        self._defined: dict[str, list[_Def]] = defaultdict(list)
        for tree in self._trees:
            for node in tree.body:
                for name, value in _assigned(node):
                    self._constants[name].append(value)
            for found in ast.walk(tree):
                if isinstance(found, _Def):
                    self._defined[found.name].append(found)
        self._makers: dict[str, dict[tuple[str, ...], set[str]]] = defaultdict(dict)
        # Functions that make errors of what they are given: by name and parameters, those parameters that are texts.

    def templates(self) -> set[str]:
        """
        Return what the package says.
        """
        known = -1
        while known < (known := self._count()):
            said = set()
            for tree in self._trees:
                self._module = self._modules[tree]
                said |= set(self._of(tree, None))
        return said - {""}

    def _count(self) -> int:
        return sum(len(texts) for variants in self._makers.values() for texts in variants.values())

    def _of(self, node: ast.AST, function: _Def | None) -> Iterator[str]:
        for child in ast.iter_child_nodes(node):
            inner = child if isinstance(child, _Def) else function
            for text in self._texts(child, function):
                yield from self._read(text, function)
            yield from self._of(child, inner)

    def _texts(self, node: ast.AST, function: _Def | None) -> Iterator[ast.expr]:
        """
        Return the expressions of a node that are told to people.
        """
        if isinstance(node, ast.Call):
            yield from self._arguments(node)
        elif isinstance(node, ast.Dict):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (value for key, value in pairs if isinstance(key, ast.Constant) and key.value in NAMED)
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript):
            key = node.targets[0].slice
            if isinstance(key, ast.Constant) and key.value in NAMED:
                yield node.value
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in PARTS:
            yield node.value
        elif isinstance(node, ast.ClassDef):
            yield from (value for part in node.body for name, value in _assigned(part) if name == "default_hint")
        elif isinstance(node, _Def):
            texts = self._makers.get(node.name, {}).get(_parameters(node), set())
            defaults = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            yield from (value for parameter, value in defaults if parameter.arg in texts)
        elif isinstance(node, ast.Return):
            names = set() if function is None else {function.name, f"{self._module}.{function.name}"}
            yield from _told_by(node, is_teller=bool(names & TELLERS))

    def _arguments(self, call: ast.Call) -> Iterator[ast.expr]:
        match call.func:
            case ast.Attribute(attr="join", value=ast.Constant(value=", " | "; " as between)):
                yield ast.Constant(f"{HOLE}{between}{HOLE}")  # as if there were two; of more, one holds the others
        name = getattr(call.func, "id", getattr(call.func, "attr", ""))
        longer = ".".join(ast.unparse(call.func).split(".")[-2:])
        maker = name if name in MAKERS else longer
        if name in self._errors or maker in MAKERS:
            places: tuple[int, ...] = MAKERS.get(maker, (0,))
            yield from (call.args[at] for at in places if len(call.args) > at)
            yield from (one.value for one in call.keywords if one.arg in NAMED)
            return
        for given, texts in list(self._makers[name].items()):
            yield from [arg for arg, parameter in zip(call.args, given, strict=False) if parameter in texts]
            yield from [one.value for one in call.keywords if one.arg in texts]

    def _read(self, text: ast.expr, function: _Def | None, depth: int = 0) -> set[str]:
        """
        Return what an expression says, as far as it can be read off.
        """
        if depth > 8:
            return set()

        def read(*parts: ast.expr) -> set[str]:
            return {one for part in parts for one in self._read(part, function, depth + 1)}

        match text:
            case ast.Constant(value=str() as value):
                return {value}
            case ast.JoinedStr():
                self._carry(text, function)
                return {"".join(str(one.value) if isinstance(one, ast.Constant) else HOLE for one in text.values)}
            case ast.IfExp():
                return read(text.body, text.orelse)
            case ast.BoolOp():
                return read(*text.values)
            case ast.BinOp(op=ast.Add()):
                return {one + other for one in read(text.left) or {HOLE} for other in read(text.right) or {HOLE}}
            case ast.Name():
                return self._by_name(text.id, function, depth)
            case ast.Dict():
                return read(*text.values)
            case ast.Subscript():
                return read(text.value) if isinstance(text.value, ast.Name | ast.Dict) else set()
            case ast.Call(func=ast.Attribute(attr="strip" | "get" as attr, value=value)):
                found = read(value) if isinstance(value, ast.Name | ast.Dict | ast.JoinedStr) else set()
                return {one.strip() for one in found} if attr == "strip" else found | read(*text.args[1:])
            case ast.Call(func=ast.Attribute(attr="join"), args=[ast.List(elts=parts)]):
                return read(*parts)
            case ast.Call(func=ast.Name(id=name)):
                return self._returned(name, depth)
        return set()

    def _carry(self, text: ast.JoinedStr, function: _Def | None) -> None:
        for part in text.values:
            if isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id in CARRIED:
                self._by_name(part.value.id, function, 8)

    def _returned(self, name: str, depth: int) -> set[str]:
        return {
            one
            for function in self._defined.get(name, ())
            if ast.unparse(function.returns or ast.Constant(None)) == "str"
            for node in ast.walk(function)
            if isinstance(node, ast.Return) and node.value is not None
            for one in self._read(node.value, function, depth + 1)
        }

    def _by_name(self, name: str, function: _Def | None, depth: int) -> set[str]:
        if function is not None:
            given = _parameters(function)
            if name in (*given, *(one.arg for one in function.args.kwonlyargs)):
                self._takes(function.name, given, name)
            here = [value for node in ast.walk(function) for target, value in _assigned(node) if target == name]
            if here:
                return {
                    one
                    for value in here
                    for one in self._read(value, None if _mentions(value, name) else function, depth + 1)
                }
        return {one for value in self._constants.get(name, ()) for one in self._read(value, None, depth + 1)}

    def _takes(self, function: str, given: tuple[str, ...], name: str) -> None:
        if function != "__init__":  # the classes of errors hand their arguments on to the class above
            self._makers[function].setdefault(given, set()).add(name)


def _told_by(node: ast.Return, *, is_teller: bool) -> Iterator[ast.expr]:
    match node.value:
        case ast.Tuple(elts=[ast.Constant(value=bool()), text]):
            yield text  # how a driver says whether a check went well
        case ast.Tuple(elts=texts) if is_teller:
            yield from texts
        case ast.expr() as text if is_teller and not isinstance(text, ast.Dict):
            yield text


def _parameters(function: _Def) -> tuple[str, ...]:
    names = (one.arg for one in (*function.args.posonlyargs, *function.args.args))
    return tuple(name for name in names if name not in ("self", "cls"))


def _assigned(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            if isinstance(target, ast.Name):
                yield target.id, node.value
            elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for one, value in zip(target.elts, node.value.elts, strict=False):
                    if isinstance(one, ast.Name):
                        yield one.id, value
    elif isinstance(node, ast.AnnAssign) and node.value is not None and isinstance(node.target, ast.Name):
        yield node.target.id, node.value


def _mentions(value: ast.expr, name: str) -> bool:
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(value))
