"""The daemon: composition root, HTTP API, browser pages, login sessions, runs."""
