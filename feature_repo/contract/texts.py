"""Texts of variables and flags as values of settings: a text stays a text until the type of its field says
otherwise.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr

_NONE: Final = frozenset({"", "none", "null"})
_TEXTS: Final = (str, Path, SecretStr)


class TextError(ValueError):
    """A text that is no value of its field; does not hold the text."""


def alternatives(annotation: Any) -> list[Any]:
    """Take a field's type apart: the members of its union, without what ``Annotated`` adds.

    Examples
    --------
    >>> alternatives(Annotated[int, "unit"] | None)
    [<class 'int'>, <class 'NoneType'>]
    """
    if get_origin(annotation) is Annotated:
        return alternatives(get_args(annotation)[0])
    if get_origin(annotation) in (Union, UnionType):
        return [kind for member in get_args(annotation) for kind in alternatives(member)]
    return [annotation]


def type_at(model: type[BaseModel], keys: Sequence[str]) -> tuple[Any, int]:
    """Find the type of the field that dotted keys name.

    Parameters
    ----------
    model : type
        Where the first key is looked for.
    keys : sequence of str
        Names of fields; below a field that is a mapping the rest is one key of it.

    Returns
    -------
    tuple of (type, int)
        ``Any`` for an unknown name; and how many of the keys lead to the mapping, or to the field itself.
    """
    kind: Any = model
    for place, key in enumerate(keys):
        if get_origin(kind) is dict:
            return get_args(kind)[1], place
        field = kind.model_fields.get(key) if isinstance(kind, type) and issubclass(kind, BaseModel) else None
        if field is None:
            return Any, len(keys)
        kind = field.annotation
    return kind, len(keys)


def value_of(annotation: Any, text: str) -> Any:
    """Read a text as the value of a field, as far as its spelling goes; the model then checks type and range.

    Parameters
    ----------
    annotation : type
        Of the field.
    text : str
        As the variable or flag has it.

    Returns
    -------
    object
        ``None`` for ``none``, ``null`` and an empty text where the field may be none and has no such word
        itself; the text itself for texts, paths and secrets; lists and tables parsed (TOML or JSON); numbers
        and words trimmed.

    Raises
    ------
    TextError
        A list or table that cannot be parsed.

    Examples
    --------
    >>> value_of(str, "1e5"), value_of(int | None, "none"), value_of(Literal["llm", "none"], "none")
    ('1e5', None, 'none')
    >>> value_of(tuple[str, ...], '["a", "b"]'), value_of(int, " 0x10 ")
    (['a', 'b'], 16)
    """
    kinds = alternatives(annotation)
    words = [word for kind in kinds if get_origin(kind) is Literal for word in get_args(kind)]
    word = text.strip()
    if word in words:
        return word
    if NoneType in kinds and word.lower() in _NONE:
        return None
    if Any in kinds or any(kind in kinds for kind in _TEXTS):
        return text
    if any(get_origin(kind) in (tuple, list, dict) or _is_section(kind) for kind in kinds):
        return _parsed(word)
    return _integer(word) if int in kinds else word


def put(tree: dict[str, Any], model: type[BaseModel], keys: Sequence[str], value: Any) -> None:
    """Lay one value of a variable or flag into a tree of settings.

    Parameters
    ----------
    tree : dict
        Nested as the model is; changed in place.
    model : type
        What the tree is to become.
    keys : sequence of str
        Names of fields, outermost first.
    value : object
        A text is read by `value_of`, anything else is laid in as it is.

    Raises
    ------
    TextError
        A list or table that cannot be parsed, or a name below a plain value.

    Examples
    --------
    >>> class Part(BaseModel):
    ...     conf: dict[str, str]
    >>> tree = {}
    >>> put(tree, Part, ["conf", "spark", "memory"], "8")
    >>> tree
    {'conf': {'spark.memory': '8'}}
    """
    kind, depth = type_at(model, keys)
    path = keys if depth == len(keys) else [*keys[:depth], ".".join(keys[depth:])]
    read = value_of(kind, value) if isinstance(value, str) else value
    for key in path[:-1]:
        tree = tree.setdefault(key, {})
        if not isinstance(tree, dict):
            raise TextError(f"goes below '{key}', which is a plain value; check the name")
    tree[path[-1]] = read


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _parsed(text: str) -> Any:
    for parse in (_toml, json.loads):
        try:
            value = parse(text)
        except ValueError:
            continue
        if isinstance(value, list | dict):
            return value
    raise TextError(
        'is neither a list nor a table; write e.g. ["first", "second"] or { "key" = "value" }, texts in '
        "quotes"
    )


def _toml(text: str) -> Any:
    return tomllib.loads(f"value = {text}")["value"]


def _integer(text: str) -> int | str:
    try:
        return int(text, 0)
    except ValueError:
        return text
