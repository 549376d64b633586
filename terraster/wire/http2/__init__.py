"""HTTP/2 (RFC 9113): octets to values and back. No socket and no clock in this room."""
