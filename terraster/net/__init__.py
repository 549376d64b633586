"""Sockets and greenlets: streams, the pool of upstream connections, relays and tunnels. What to do is decided elsewhere."""
