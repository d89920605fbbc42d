# mypy: ignore-errors
"""A gRPC server of the private internet: `grpc_host.py ADDRESS PORT,SIDE_DOOR STATE HOST`, until stdin closes.

It returns what it is sent, once, or three times where the method is called Thrice. It keeps the rules and the journal
of parts.fakenet_server. Runs in the sweep's own environment.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc


class Echo(grpc.GenericRpcHandler):
    """Every method there is, on one port."""

    def __init__(self, state, host, port):
        self._rules = state / "rules.json"
        self._journal = (state / "journal.jsonl").open("a", buffering=1)
        self._host = host
        self._port = port

    def service(self, details):
        """As grpc.GenericRpcHandler.service."""
        metadata = [[name, value] for name, value in details.invocation_metadata if isinstance(value, str)]

        def once(body, context):
            self._admit(details.method, metadata, body, context)
            return body

        def thrice(body, context):
            self._admit(details.method, metadata, body, context)
            yield from [body] * 3

        if details.method.endswith("/Thrice"):
            return grpc.unary_stream_rpc_method_handler(thrice)
        return grpc.unary_unary_rpc_method_handler(once)

    def _admit(self, method, metadata, body, context):
        wanted = json.loads(self._rules.read_text())["creds"].get(self._host)
        authorized = wanted is None or wanted in metadata
        entry = {
            "time": time.time(),
            "protocol": "h2",
            "scheme": "https",
            "host": self._host,
            "method": "POST",
            "path": method,
            "query": "",
            "headers": metadata,
            "body": body.decode("latin1"),
            "authorized": authorized,
            "port": self._port,
        }
        self._journal.write(json.dumps(entry) + "\n")
        if not authorized:
            context.abort(grpc.StatusCode.UNAUTHENTICATED, "bad credential")


def main():
    """Serve until stdin closes."""
    address, ports, state, host = sys.argv[1:]
    leaf = Path(state) / "leaves" / host
    pair = ((leaf / "server.key").read_bytes(), (leaf / "server.pem").read_bytes())
    servers = []
    for port in map(int, ports.split(",")):
        server = grpc.server(ThreadPoolExecutor(2), handlers=[Echo(Path(state), host, port)])
        server.add_secure_port(f"{address}:{port}", grpc.ssl_server_credentials([pair]))
        server.start()
        servers.append(server)
    print(json.dumps({"ready": address}), flush=True)
    sys.stdin.read()
    for server in servers:
        server.stop(None)


if __name__ == "__main__":
    main()
