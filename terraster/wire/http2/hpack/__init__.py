"""HPACK (RFC 7541): the compression of field lists in HTTP/2. A reader with the full state, and a writer without any."""
