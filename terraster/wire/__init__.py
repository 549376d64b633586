"""Bytes to values and back: message heads, bodies' framing, the PROXY protocol. No socket and no clock in this room."""
