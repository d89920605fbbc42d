"""The verbs: log in, lend, forget, revoke, export, record."""
