"""The JSON Schema of provider files, for editors: `python -m authsome.catalog.schema > docs/provider.schema.json`."""

import json

from authsome.model.provider import Provider

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """The schema as text. It knows the shape of a file; what a URL or a route may be, only the reader knows."""
    schema = {"$schema": DIALECT, "title": "authsome provider file"}
    described = Provider.model_json_schema(mode="validation")
    return (
        json.dumps(schema | {key: _plain(value) for key, value in described.items() if key != "title"}, indent=2) + "\n"
    )


def _plain(value: object) -> object:
    """Without the titles that pydantic makes of the names of fields."""
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items() if not (k == "title" and isinstance(v, str))}
    return [_plain(v) for v in value] if isinstance(value, list) else value


if __name__ == "__main__":
    print(schema_text(), end="")
