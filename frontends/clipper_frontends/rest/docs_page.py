"""/docs as one page that needs nothing from elsewhere: FastAPI's own fetches its scripts from a CDN."""

import json
from collections.abc import Iterator
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.responses import HTMLResponse

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
section{border-top:1px solid #ddd;padding:.5rem 0}code,pre{font:13px/1.4 ui-monospace,monospace;background:#f4f4f4}
pre{padding:.6rem;overflow:auto}h2{font:600 15px ui-monospace,monospace}
td{padding:.1rem .8rem .1rem 0;vertical-align:top}
"""


def add_docs(app: FastAPI) -> None:
    """Serve ``/docs`` for ``app``, which was made with ``docs_url=None``."""

    @app.get("/docs", include_in_schema=False)
    async def docs() -> HTMLResponse:
        return HTMLResponse(page(app.openapi()))


def page(document: dict[str, Any]) -> str:
    """An OpenAPI document for people."""
    info = document["info"]
    schemas = document.get("components", {}).get("schemas", {})
    parts = [
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>",
        f"<style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('description', ''))}</p>",
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>",
        *(
            _operation(method, path, operation)
            for path, methods in document["paths"].items()
            for method, operation in methods.items()
        ),
        *(
            f"<section id='{escape(name)}'><h2>{escape(name)}</h2>{_json(schema)}</section>"
            for name, schema in schemas.items()
        ),
    ]
    return "\n".join(parts)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    title = f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{escape(operation.get('summary', ''))}</p>"
    described = f"<p>{escape(operation['description'])}</p>" if "description" in operation else ""
    return f"<section>{title}{described}{''.join(_details(method, path, operation))}</section>"


def _details(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    for parameter in operation.get("parameters", []):
        description = escape(parameter.get("description", ""))
        yield f"<p><code>{escape(parameter['name'])}</code> in {escape(parameter['in'])}. {description}</p>"
    for content_type, content in operation.get("requestBody", {}).get("content", {}).items():
        for example in content.get("examples", {}).values():
            body = json.dumps(example["value"])
            yield f"<pre>curl -X {method.upper()} $URL{escape(path)} -d '{escape(body)}'</pre>"
        yield f"<details><summary>Body: {escape(content_type)}</summary>{_json(content.get('schema', {}))}</details>"
    rows = "".join(
        f"<tr><td><code>{escape(status)}</code><td>{escape(response['description'])}"
        for status, response in operation.get("responses", {}).items()
    )
    yield f"<table>{rows}</table>"


def _json(schema: dict[str, Any]) -> str:
    return f"<pre>{escape(json.dumps(schema, indent=2))}</pre>"
