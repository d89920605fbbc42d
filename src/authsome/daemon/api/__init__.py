"""The owner's API on the Unix socket: one file per noun."""
