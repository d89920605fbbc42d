"""The I/O of the proxy: protocols on an event loop, with no task per request and no look at body bytes."""
