"""HTTP/2 towards clients: a connection that carries many requests, and the client of one of them."""
