"""The command line: a thin caller of the daemon that imports `errors` and `settings` of ours and nothing else."""
