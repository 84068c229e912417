"""The official Python client, driven by JSON lines: commands on stdin, results on stdout.

A command is {"id": 1, "do": "ping", ...}; its result is {"id": 1, "ok": ...} or {"id": 1, "error": {"type", "text"}}.
Sessions, handlers and requests are named by the id of the command that made them. Commands run at the same time; the
end of stdin ends the process. The commands are those of `support/peers.mjs`.

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
from diffusion.messaging import RequestHandler, SessionId  # noqa: E402
from diffusion.session.session_factory import ReconnectionStrategy  # noqa: E402

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
results = {}  # by request to a filter: a queue of the responses that came


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
    if command.get("reconnect"):
        factory = diffusion.sessions().principal(command["principal"]).credentials(diffusion.Credentials(password))
        session = await factory.reconnection_strategy(AtOnce()).open(command["url"])
        sessions[command["id"]] = session
        return str(session.session_id)
    session = diffusion.Session(
        command["url"],
        principal=command.get("principal", ""),
        credentials=None if password is None else diffusion.Credentials(password),
        properties=command.get("properties"),
    )
    await session.connect()
    sessions[command["id"]] = session
    return str(session.session_id)


class AtOnce(ReconnectionStrategy):
    """Reconnects at once."""

    async def perform_reconnection(self, reconnection_attempt):
        await reconnection_attempt.start()


async def state(command):
    return session_of(command).state.name


async def handle(command):
    """Registers a handler that does what `action` says."""
    handler = answering(command)
    properties = command.get("properties", [])
    await session_of(command).messaging.add_request_handler(command["path"], handler, session_properties=properties)


async def stream(command):
    """Adds a handler of addressed requests that does what `action` says."""
    session_of(command).messaging.add_stream_handler(command["path"], answering(command), addressed=True)


def answering(command):
    action = command["action"]
    arrived = arrivals[command["id"]] = asyncio.Queue()

    async def answer(request, **context):
        arrival = {"value": plain(command["type"], request)}
        if context:  # nothing is told of an addressed request
            arrival["path"] = context["path"]
            arrival["sender"] = str(context["sender_session_id"])
            arrival["properties"] = context["session_properties"]
        arrived.put_nowait(arrival)
        if "answer" in action:
            return value_of(command["type"], action["answer"])
        if "reject" in action:
            raise diffusion.session.exceptions.RejectedRequestError(action["reject"])
        if "throw" in action:
            raise ValueError(action["throw"])
        if "ask" in action:
            return (await messaging(command).send_request_to_path(action["ask"], typed(command, request))).value
        if "silence" in action:
            await asyncio.Event().wait()
        return request

    data_type = TYPES[command["type"]]
    return RequestHandler(answer, request_type=data_type, response_type=data_type)


async def arrival(command):
    """The next request that comes to a handler, or came already."""
    return await arrivals[command["handler"]].get()


async def send_to_path(command):
    return response_of(command, await messaging(command).send_request_to_path(command["path"], request_of(command)))


async def send_to_session(command):
    recipient = SessionId(*(int(half, 16) for half in command["to"].split("-")))
    send = messaging(command).send_request_to_session
    return response_of(command, await send(command["path"], recipient, request_of(command)))


class Results:
    """Takes the responses to requests to a filter."""

    def __init__(self, command):
        self.command = command
        self.queue = results[command["id"]] = asyncio.Queue()

    async def handle(self, event, response, session_id, received, expected, **_):
        value = response_of(self.command, response)
        result = {"session": str(session_id), "value": value, "received": received, "expected": expected}
        self.queue.put_nowait(result)


async def send_to_filter(command):
    # Responses find their handler by the text of the filter.
    messaging(command).add_filter_response_handler(command["filter"], Results(command))
    send = messaging(command).send_request_to_filter
    return await send(command["filter"], command["path"], request_of(command))


async def result(command):
    """The next response to a request to a filter, or one that came already."""
    return await results[command["request"]].get()


async def ping(command):
    await session_of(command).ping_server()


async def add_topic(command):
    await session_of(command).topics.add_topic(command["path"], TYPES["json"])


async def close(command):
    await session_of(command).close()


def session_of(command):
    return sessions[command["session"]]


def messaging(command):
    return session_of(command).messaging


def request_of(command):
    return typed(command, value_of(command["type"], command["value"]))


def typed(command, value):
    return TYPES[command["type"]](value)


def response_of(command, response):
    return plain(command["type"], response if response is None else response.value)


COMMANDS = {
    "connect": connect,
    "state": state,
    "handle": handle,
    "stream": stream,
    "arrival": arrival,
    "sendToPath": send_to_path,
    "sendToSession": send_to_session,
    "sendToFilter": send_to_filter,
    "result": result,
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
