"""The official Python client, driven by JSON lines: commands on stdin, results on stdout.

A command is {"id": 1, "do": "send", ...}; its result is {"id": 1, "ok": ...} or {"id": 1, "error": {"type", "text"}}.
Sessions and handlers are named by the id of the command that made them. Commands run at the same time; the end of
stdin ends the process. The commands are those of `support/peers.mjs`.

What JSON cannot say is written {"$int": "9007199254740993"}, {"$double": "NaN"}, {"$bytes": "00ff"}.
"""

import asyncio
import json
import math
import os
import sys

# The client logs to stdout; the lines of this program must not mix with that.
channel = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
os.dup2(2, 1)

import diffusion  # noqa: E402
from diffusion.messaging import RequestHandler  # noqa: E402

TYPES = {
    "json": diffusion.datatypes.JSON,
    "string": diffusion.datatypes.STRING,
    "int64": diffusion.datatypes.INT64,
    "double": diffusion.datatypes.DOUBLE,
    "binary": diffusion.datatypes.BINARY,
}
SAFE = 2**53 - 1

sessions = {}
arrivals = {}  # by handler: a queue of the requests that came


def say(message):
    channel.write(json.dumps(message) + "\n")


def plain(type_name, value):
    """As `to_json`; an int64 is a bigint to JavaScript however small it is."""
    return {"$int": str(value)} if type_name == "int64" and value is not None else to_json(value)


def to_json(value):
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= SAFE else {"$int": str(value)}
    if isinstance(value, float):
        exact = math.isfinite(value) and not value.is_integer()
        return value if exact else {"$double": repr(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"$bytes": value.hex()}
    if isinstance(value, dict):
        return {key: to_json(member) for key, member in value.items()}
    return [to_json(member) for member in value]


def from_json(value):
    if isinstance(value, list):
        return [from_json(member) for member in value]
    if not isinstance(value, dict):
        return value
    for tag, read in (("$int", int), ("$double", float), ("$bytes", bytes.fromhex)):
        if tag in value:
            return read(value[tag])
    return {key: from_json(member) for key, member in value.items()}


def value_of(type_name, value):
    value = from_json(value)
    # JavaScript's 2 is a float here.
    return float(value) if type_name == "double" and isinstance(value, int) else value


async def connect(command):
    """Opens a session; its name is the id of this command."""
    password = command.get("credentials")
    session = diffusion.Session(
        command["url"],
        principal=command.get("principal", ""),
        credentials=None if password is None else diffusion.Credentials(password),
        properties=command.get("properties"),
    )
    await session.connect()
    sessions[command["id"]] = session
    return str(session.session_id)


async def handle(command):
    """Registers a handler that does what `action` says."""
    action = command["action"]
    arrived = arrivals[command["id"]] = asyncio.Queue()

    async def answer(request, **context):
        arrived.put_nowait(
            {
                "value": plain(command["type"], request),
                "path": context["path"],
                "sender": str(context["sender_session_id"]),
                "properties": context["session_properties"],
            }
        )
        if "answer" in action:
            return value_of(command["type"], action["answer"])
        if "reject" in action:
            raise diffusion.session.exceptions.RejectedRequestError(action["reject"])
        if "throw" in action:
            raise ValueError(action["throw"])
        if "silence" in action:
            await asyncio.Event().wait()
        return request

    data_type = TYPES[command["type"]]
    handler = RequestHandler(answer, request_type=data_type, response_type=data_type)
    properties = command.get("properties", [])
    await session_of(command).messaging.add_request_handler(command["path"], handler, session_properties=properties)


async def arrival(command):
    """The next request that comes to a handler, or came already."""
    return await arrivals[command["handler"]].get()


async def send(command):
    request = TYPES[command["type"]](value_of(command["type"], command["value"]))
    response = await session_of(command).messaging.send_request_to_path(command["path"], request)
    return plain(command["type"], response if response is None else response.value)


async def ping(command):
    await session_of(command).ping_server()


async def add_topic(command):
    await session_of(command).topics.add_topic(command["path"], TYPES["json"])


async def close(command):
    await session_of(command).close()


def session_of(command):
    return sessions[command["session"]]


COMMANDS = {
    "connect": connect,
    "handle": handle,
    "arrival": arrival,
    "send": send,
    "ping": ping,
    "addTopic": add_topic,
    "close": close,
}


async def carry_out(command):
    try:
        say({"id": command["id"], "ok": await COMMANDS[command["do"]](command)})
    except Exception as error:  # whatever it is, the test wants to know
        say({"id": command["id"], "error": {"type": type(error).__name__, "text": str(error)}})


async def main():
    tasks = set()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        task = asyncio.create_task(carry_out(json.loads(line)))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    os._exit(0)


asyncio.run(main())
