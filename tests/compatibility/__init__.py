"""The compatibility sweep: real client libraries, as they come, under `authsome run`. `make compatibility` runs it."""
