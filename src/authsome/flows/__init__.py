"""Logins, refreshes and revocations as dialogues: generators that ask by yielding and touch no socket."""
