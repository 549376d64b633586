"""The phases of a request's life, one a file; `terraster.proxy` calls them in order.

    receive        read a request head
    locate         listener, Host and path → location
    pick           which backend
    attempt, hedge one try at one backend, and a second one that may overtake it
    upstream_head  the head that goes to a backend
    respond        the one writer of heads that go to a client; bodies behind them
    upgrade        101, and the tunnel behind it

`data_plane` holds what all requests of one worker share. A phase takes it and the exchange, and returns a value.
"""
