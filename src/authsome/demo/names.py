"""The names that the parts of the demo agree on."""

LOOPBACK = "127.0.0.1"
API_HOST = "api.demo.test"
PROVIDER = "demo"
VARIABLE = "DEMO_ACCESS_TOKEN"
SCOPES = ("profile", "notes")
