"""The phases of a request's life, one per file. `terraster.proxy` calls them in order.

    receive        read a request head
    locate         listener, Host and path → location
    pick           choose a backend
    attempt, hedge one try at one backend, and a second one that may overtake it
    upstream_head  the head for a backend
    respond        relay a response, or send our own answer or an error
    downstream_head  the one writer of heads for a client
    upgrade        101, and the tunnel after it

`data_plane` has the parts that all requests of one worker share. A phase takes it and the exchange, and returns a value.
"""
