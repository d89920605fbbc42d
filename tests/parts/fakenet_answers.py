"""What well-known APIs of the private internet answer: just enough for one call of their own client libraries."""

import json
from collections.abc import Callable

Answer = tuple[bytes, list[bytes]]  # the content type, and the body in pieces

_COMMIT = "1f" * 20
_WORDS = ("nothing ", "of ", "substance")


def _json(value: object) -> Callable[[bytes], Answer]:
    whole = json.dumps(value).encode()
    return lambda _: (b"application/json", [whole])


def _events(*events: tuple[str, object]) -> Answer:
    lines = [f"event: {name}\n" * bool(name) + f"data: {json.dumps(data)}\n\n" for name, data in events]
    return b"text/event-stream", [line.encode() for line in lines]


def _completion(body: bytes) -> Answer:
    asked = json.loads(body)
    common = {"id": "chatcmpl-1", "created": 1, "model": asked["model"]}
    if asked.get("stream"):
        deltas = [{"index": 0, "delta": {"content": word}, "finish_reason": None} for word in _WORDS]
        kind, pieces = _events(
            *(("", {**common, "object": "chat.completion.chunk", "choices": [delta]}) for delta in deltas)
        )
        return kind, [*pieces, b"data: [DONE]\n\n"]
    message = {"role": "assistant", "content": "".join(_WORDS)}
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    return _json({**common, "object": "chat.completion", "choices": [choice]})(body)


def _message(body: bytes) -> Answer:
    asked = json.loads(body)
    usage = {"input_tokens": 3, "output_tokens": 3}
    empty = {"id": "msg_1", "type": "message", "role": "assistant", "model": asked["model"], "usage": usage}
    ends = {"stop_reason": "end_turn", "stop_sequence": None}
    if not asked.get("stream"):
        return _json({**empty, **ends, "content": [{"type": "text", "text": "".join(_WORDS)}]})(body)
    begun = {**empty, "stop_reason": None, "stop_sequence": None, "content": []}
    deltas = [{"index": 0, "delta": {"type": "text_delta", "text": word}} for word in _WORDS]
    events: list[tuple[str, dict[str, object]]] = [
        ("message_start", {"message": begun}),
        ("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}}),
        *(("content_block_delta", delta) for delta in deltas),
        ("content_block_stop", {"index": 0}),
        ("message_delta", {"delta": ends, "usage": usage}),
        ("message_stop", {}),
    ]
    return _events(*((name, {"type": name, **data}) for name, data in events))


def _refs(_: bytes) -> Answer:
    """The references of a repository with one commit, in git's first protocol, which every git understands."""
    lines = [f"{_COMMIT} HEAD\0symref=HEAD:refs/heads/main\n", f"{_COMMIT} refs/heads/main\n"]
    packets = [f"{len(line) + 4:04x}{line}" for line in ("# service=git-upload-pack\n", *lines)]
    body = packets[0] + "0000" + "".join(packets[1:]) + "0000"
    return b"application/x-git-upload-pack-advertisement", [body.encode()]


def _buckets(_: bytes) -> Answer:
    """S3's list of one bucket."""
    bucket = "<Bucket><Name>engine</Name><CreationDate>2025-01-01T00:00:00Z</CreationDate></Bucket>"
    return b"application/xml", [
        f"<ListAllMyBucketsResult><Buckets>{bucket}</Buckets></ListAllMyBucketsResult>".encode()
    ]


_CANDIDATE = {"content": {"role": "model", "parts": [{"text": "".join(_WORDS)}]}, "finishReason": "STOP"}
_MODEL = {"id": "gpt-none", "object": "model", "created": 1, "owned_by": "nobody"}

ANSWERS: dict[tuple[str, str], Callable[[bytes], Answer]] = {
    ("api.openai.com", "/v1/chat/completions"): _completion,
    ("api.openai.com", "/v1/models"): _json({"object": "list", "data": [_MODEL]}),
    ("api.anthropic.com", "/v1/messages"): _message,
    ("api.github.com", "/user"): _json({"login": "ada", "id": 1, "type": "User"}),
    ("github.com", "/ada/engine.git/info/refs"): _refs,
    ("slack.com", "/api/auth.test"): _json({"ok": True, "user": "ada", "user_id": "U1", "team": "Engine"}),
    ("api.notion.com", "/v1/users/me"): _json({"object": "user", "id": "user-1", "type": "bot", "bot": {}}),
    ("api.stripe.com", "/v1/balance"): _json({"object": "balance", "available": [], "pending": [], "livemode": False}),
    ("gmail.googleapis.com", "/gmail/v1/users/me/profile"): _json({"emailAddress": "ada@example.com"}),
    ("generativelanguage.googleapis.com", "/v1/models/none:generateContent"): _json({"candidates": [_CANDIDATE]}),
    ("objects.example.com", "/"): _buckets,
    ("huggingface.co", "/api/whoami-v2"): _json({"type": "user", "name": "ada", "orgs": []}),
}

# The first message on a WebSocket.
GREETINGS = {
    "api.openai.com": json.dumps(
        {"type": "session.created", "event_id": "event_1", "session": {"type": "realtime", "id": "session_1"}}
    ),
}
