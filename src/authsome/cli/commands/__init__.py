"""One file per command; each has `run(given, out) -> int`, the exit status, and is imported when it is called."""
