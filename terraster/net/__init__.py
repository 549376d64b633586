"""Sockets and greenlets: streams, the pool of upstream connections, relays and tunnels. Decisions are made elsewhere."""
