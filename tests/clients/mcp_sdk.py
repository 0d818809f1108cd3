"""Drives a gateway with the Model Context Protocol's own SDK, by the protocol of 2026-07-28 and by the handshake before it.

Usage: mcp_sdk.py URL TOKEN. The documents of `tests/clients.rs` must be in. Any failure ends it with another exit code.
"""

import asyncio
import sys

from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

url, token = sys.argv[1:3]


def check(what, truth):
    if not truth:
        raise SystemExit(f"not as it should be: {what}")


def connect(mode, credential=token):
    headers = {} if credential == "none" else {"authorization": f"Bearer {credential}"}
    transport = streamable_http_client(f"{url}/mcp", http_client=create_mcp_http_client(headers=headers))
    return Client(transport, mode=mode)


async def use(mode, version):
    async with connect(mode) as client:
        check("the version", client.protocol_version == version)
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        check("the tools", set(tools) == {"ask", "search"})
        check("they only read", all(tool.annotations.read_only_hint for tool in tools.values()))

        found = await client.call_tool("search", {"query": "bell", "k": 2})
        check("search: passages", "Marta Quist" in found.content[0].text)
        check("search: structured", found.structured_content["hits"][0]["document_id"] == "bell")

        answer = await client.call_tool("ask", {"question": "Who cast the bell of Nordhafen?"})
        check("ask: the answer with its citation", "Marta Quist" in answer.content[0].text and "[1]" in answer.content[0].text)
        check("ask: structured citations", answer.structured_content["citations"][0]["document_id"] == "bell")
        check("ask: links", answer.content[1].type == "resource_link")

        listed = (await client.list_resources()).resources
        check("resources: the documents", {"bell", "gate"} <= {resource.name for resource in listed})
        text = (await client.read_resource(answer.content[1].uri)).contents[0].text
        check("resources: the whole text", "Marta Quist" in text and "rings at noon" in text)
        check("resources: a template", (await client.list_resource_templates()).resource_templates)

        for name, arguments in (("search", {}), ("search", {"query": "x", "k": 0}), ("search", {"query": "x", "other": 1}), ("none", {})):
            await refused(client.call_tool(name, arguments), f"{name} {arguments}")
        await refused(client.read_resource("ragstone://documents/absent"), "an absent document")
        await refused(client.read_resource("file:///etc/passwd"), "another kind of address")
    print(f"mcp {mode}: {version}", file=sys.stderr)


async def refused(call, what):
    try:
        result = await call
    except MCPError:
        return
    check(f"refused: {what}", getattr(result, "is_error", False))


async def without_credential():
    try:
        async with connect("auto", "rsk_nobody_knows") as client:
            await client.list_tools()
    except BaseException as error:  # The SDK wraps it in groups of its own.
        if isinstance(error, SystemExit):
            raise
        return
    raise SystemExit("a wrong credential was not refused")


async def main():
    await use("2026-07-28", "2026-07-28")
    await use("auto", "2026-07-28")
    await use("legacy", "2025-11-25")
    if token != "none":
        await without_credential()


asyncio.run(main())
