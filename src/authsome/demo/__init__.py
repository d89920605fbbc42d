"""`authsome demo`: the whole loop on this machine, against servers of its own, with no account and no internet."""
