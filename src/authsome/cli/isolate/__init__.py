"""`run --isolate` on Linux: a command in namespaces of its own, whose only way out is the proxy (P5, level C).

Nothing of this is imported for any other command. `supervisor` stays outside and waits, `inside` builds the
namespaces and starts the command there; the rest has one job each: `plan` says what is hidden and what is writable,
`trusted` which certificates are replaced, `mounts` makes it so, `network` makes the sockets that are handed out,
`seccomp` and `landlock` shut the rest.
"""
