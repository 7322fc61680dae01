"""What machines read of the server: OpenAPI for the HTTP API, AsyncAPI for the feed; and a page made of them."""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import Any, Final, get_args

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from pydantic.json_schema import models_json_schema

from streamcap import __version__
from streamcap.server.problems import Problem
from streamcap.wire import KINDS, PROTOCOL, STREAM_ID, SUBPROTOCOL, CloseCode, Message

__all__ = ["asyncapi", "docs_page", "install_openapi"]

_REF: Final = "#/components/schemas/{model}"
_WHY: Final = {
    CloseCode.ENDED: "the stream ended, after its ended status",
    CloseCode.TOO_BIG: "a message from the client was too large",
    CloseCode.INTERNAL: "the server failed: come back and resume",
    CloseCode.RESTARTING: "the server stops or restarts: come back and resume",
    CloseCode.OVERLOADED: "too many subscribers: come back later",
    CloseCode.BAD_REQUEST: "the query does not hold, or the client says too much",
    CloseCode.UNAUTHORIZED: "no token, or one that does not hold",
    CloseCode.FORBIDDEN: "not allowed",
    CloseCode.NO_SUCH_STREAM: "no such stream, or no such address",
    CloseCode.TOO_SLOW: "too slow: come back and resume with after",
}
_OPTIONS: Final[dict[str, Any]] = {
    "after": {"type": "string", "description": "SEQ, or STREAM:SEQ,STREAM:SEQ for several streams; resume after it"},
    "epoch": {"type": "string", "maxLength": 64, "description": "what the numbers belong to, from a hello"},
    "interim": {"type": "boolean", "default": True, "description": "false for durable messages only"},
    "kinds": {
        "type": "string",
        "description": f"comma separated: {', '.join(sorted(KINDS))}; instances if named",
    },
}
_STREAMS: Final[dict[str, Any]] = {
    "streams": {"type": "string", "default": "*", "description": "ids, comma separated, or *"}
}
_PAGE: Final = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>streamcap: HTTP API</title>
<style>body{{font:15px/1.5 sans-serif;max-width:56em;margin:2em auto;padding:0 1em}}
code{{background:#eee;padding:0 .2em}}td{{padding:.1em 1em .1em 0;vertical-align:top}}
h2{{border-top:1px solid #ccc;padding-top:.7em;font-size:1em}}</style>
<h1>streamcap {version}: HTTP API</h1>
<p>For machines: <a href="/openapi.json">OpenAPI</a> for what is below, <a href="/asyncapi.json">AsyncAPI</a> for the
websocket feed. Errors are <code>application/problem+json</code>.</p>
{operations}
</html>
"""


def install_openapi(app: FastAPI) -> None:
    """Make the application describe its errors as they are."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = get_openapi(
                title=app.title,
                version=app.version,
                summary=app.summary,
                description=app.description,
                routes=app.routes,
                separate_input_output_schemas=app.separate_input_output_schemas,
            )
            _, problems = models_json_schema([(Problem, "validation")], ref_template=_REF)
            schema.setdefault("components", {}).setdefault("schemas", {}).update(problems["$defs"])
            app.openapi_schema = schema
        return app.openapi_schema

    app.__dict__["openapi"] = openapi  # in place of the method, as FastAPI documents it


def asyncapi(host: str, *, secure: bool) -> dict[str, Any]:
    """The feed as an AsyncAPI 3.0 document, made of the wire models.

    Args:
        host: where the server was reached, as ``host:port``.
    """
    schemas: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for model in _models():
        schema = TypeAdapter(model).json_schema(ref_template=_REF)
        schemas |= schema.pop("$defs", {})
        schemas[model.__name__] = schema
        name = str(model.model_fields["type"].default)
        messages[name] = {
            "name": name,
            "title": model.__name__,
            "summary": str(model.__doc__).strip().splitlines()[0],
            "contentType": "application/json",
            "payload": {"$ref": _REF.format(model=model.__name__)},
        }
    one = {"stream": {"description": f"id of a stream, {STREAM_ID}"}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "streamcap caption feed",
            "version": f"{PROTOCOL}.0.0",
            "description": "What happens in live video, as numbered messages that can be resumed. One message is one "
            f"text frame. The subprotocol is {SUBPROTOCOL}; a client that offers none is served the same. A server "
            "that asks for a token takes it as Authorization: Bearer, or as the first message of who cannot send that.",
        },
        "defaultContentType": "application/json",
        "servers": {"here": {"host": host, "protocol": "wss" if secure else "ws"}},
        "channels": {
            "stream": _channel("/v1/streams/{stream}/captions", "One stream's feed", messages, {}, one),
            "streams": _channel("/v1/captions", "Many streams' feed", messages, _STREAMS, None),
        },
        "operations": {
            f"follow{name.capitalize()}": {
                "action": "send",  # AsyncAPI speaks of what the server does
                "channel": {"$ref": f"#/channels/{name}"},
                "messages": [{"$ref": f"#/channels/{name}/messages/{key}"} for key in messages],
            }
            for name in ("stream", "streams")
        },
        "components": {"messages": messages, "schemas": schemas},
    }


def _models() -> Iterator[Any]:
    """All messages; the aliases of the wire are unions of unions."""
    yield from get_args(Message)


def _channel(
    address: str, title: str, messages: dict[str, Any], options: dict[str, Any], parameters: dict[str, Any] | None
) -> dict[str, Any]:
    query = {"type": "object", "properties": options | _OPTIONS}
    channel: dict[str, Any] = {
        "address": address,
        "title": title,
        "servers": [{"$ref": "#/servers/here"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
        "x-close-codes": {str(int(code)): _WHY[code] for code in CloseCode},
    }
    return channel | ({"parameters": parameters} if parameters else {})


def docs_page(schema: dict[str, Any]) -> str:
    """An OpenAPI document as one page, which asks nothing of any other server and runs no script."""
    operations = [
        _operation(method.upper(), path, each)
        for path, methods in schema["paths"].items()
        for method, each in methods.items()
    ]
    return _PAGE.format(version=html.escape(__version__), operations="\n".join(operations))


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    lines = [f"<h2><code>{method} {html.escape(path)}</code> {html.escape(operation.get('summary', ''))}</h2>"]
    if "description" in operation:
        lines.append(f"<p>{html.escape(operation['description'])}</p>")
    rows = [
        (f"{each['name']} ({each['in']})", each.get("description", ""), _kind(each["schema"]))
        for each in operation.get("parameters", ())
    ]
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body is not None:
        rows.append(("body", "JSON", _kind(body)))
    answers = [
        (code, answer.get("description", ""), ", ".join(answer.get("content", {})))
        for code, answer in sorted(operation["responses"].items())
    ]
    for title, table in (("asks", rows), ("answers", answers)):
        if table:
            cells = ("".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) for row in table)
            lines.append(f"<p>{title}</p><table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>")
    return "\n".join(lines)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_kind(each) for each in schema["anyOf"] if each.get("type") != "null")
    default = f", {schema['default']} if absent" if "default" in schema else ""
    return f"{schema.get('format') or schema.get('type', '')}{default}"
