"""What an OpenAPI document says, as far as ours says it: JSON schemas, and answers held against them."""

from __future__ import annotations

import re

KEYWORDS = {
    *("$ref", "type", "title", "description", "default", "examples", "format", "enum", "const", "anyOf"),
    *(
        "allOf",
        "items",
        "properties",
        "required",
        "additionalProperties",
        "minLength",
        "maxLength",
        "pattern",
    ),
    *("minimum", "maximum", "minItems", "maxItems"),
}


def mismatch(value, schema, document):
    """Say where a value breaks a schema; None when it does not. Refuses keywords that it does not know."""
    assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
    if "$ref" in schema:
        found = mismatch(value, resolved(schema["$ref"], document), document)
        if found:
            return found
    for part in schema.get("allOf", ()):
        if found := mismatch(value, part, document):
            return found
    parts = schema.get("anyOf", ())
    if parts and all(mismatch(value, part, document) for part in parts):
        return f"{value!r:.200} is none of {parts!r:.200}"
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    kinds |= {"integer": int, "number": (int, float)}
    wanted = schema.get("type")
    if wanted and (not isinstance(value, kinds[wanted]) or (wanted != "boolean" and isinstance(value, bool))):
        return f"{value!r:.200} is no {wanted}"
    if ("enum" in schema and value not in schema["enum"]) or ("const" in schema and value != schema["const"]):
        return f"{value!r:.200} is not of {schema.get('enum', schema.get('const'))}"
    return _inside(value, schema, document)


def _inside(value, schema, document):
    if isinstance(value, str):
        if not schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", len(value)):
            return f"{value!r:.200} has a wrong length"
        return None if re.search(schema.get("pattern", ""), value) else f"{value!r} does not match"
    if isinstance(value, int | float) and not isinstance(value, bool):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        return None if inside else f"{value} is out of bounds"
    if isinstance(value, list) and "items" in schema:
        return next((f for one in value if (f := mismatch(one, schema["items"], document))), None)
    if not isinstance(value, dict):
        return None
    missing = [name for name in schema.get("required", ()) if name not in value]
    if missing:
        return f"{missing} missing in {value!r:.200}"
    known, more = schema.get("properties", {}), schema.get("additionalProperties", {})
    for name, one in value.items():
        if more is False and name not in known:
            return f"{name} is unknown"
        if found := mismatch(one, known.get(name, more or {}), document):
            return f"{name}: {found}"
    return None


def resolved(reference, document):
    place = document
    assert reference.startswith("#/")
    for part in reference[2:].split("/"):
        place = place[part]
    return place


def check(response, operation, document):
    """Hold one answer against what is documented of its operation."""
    status = str(response.status_code)
    told = operation["responses"].get(status) or operation["responses"]["default"]
    for name, reference in told["headers"].items():
        header = resolved(reference["$ref"], document)
        value = response.headers.get(name)
        if value is None:
            assert name == "retry-after", f"{name} is missing in {status}"
            continue
        schema = header["schema"]
        assert mismatch(int(value) if schema.get("type") == "integer" else value, schema, document) is None
    ((media, content),) = told["content"].items()
    assert response.headers["content-type"].partition(";")[0] == media
    if media == "application/json":
        assert mismatch(response.json(), content["schema"], document) is None
    return told


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method.upper(), operation
