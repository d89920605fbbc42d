"""What the proxy decides, as pure functions of values: no socket, no clock, no secret kept."""
