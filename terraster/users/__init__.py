"""The users of the management API: their passwords, sessions and tokens, in one SQLite file. Nothing here knows of HTTP.

    access.py           log in, refresh, log out, change a password; the identity behind a token
    administration.py   make, list, change and remove users
    database.py         the SQLite file, in a thread of its own

The other modules hold one noun each. Those that take a connection run in the thread of the database, within one transaction.
"""
