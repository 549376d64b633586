"""Terraster: a Layer-7 load balancer and reverse proxy.

    terraster (master)             loads and checks the configuration, binds, probes backends, forks, supervises, reloads
     ├─ proxy worker, seat 1 …     serves all clients, with one greenlet per connection
     └─ admin worker               metrics, status, the control socket

A configuration has three forms: `terraster.config.settings.Settings` (the text of the files, every key checked),
`terraster.config.snapshot.Snapshot` (frozen values, with every inherited value filled in), `terraster.plan.Plan` (compiled, one per process).
A reload sends the changes to every process over its control channel. Each process swaps one reference, and requests in flight finish on the
plan with which they began.

Facts for all processes are in the shared table (`terraster.state.table`): every cell has one writer, and readers add up.

`terraster.proxy` has the life of a request. Rooms are on floors, and a room imports only rooms below it (checked in CI; docs/principles.md):

    7  cli/  admin/                      faces
    6  master/  worker/                  processes
    5  proxy.py  phases/  plan.py        the life of a request
    4  net/  logs/                       sockets, files
    3  filters/                          may answer or edit a message
    2  route/  balance/  policy/         decisions: pure, the clock is an argument
    1  config/  state/  exchange.py      facts
    0  errors.py  extensions.py  wire/   words: octets ↔ values
"""

from .extensions import choose

__version__ = "0.1.0"

choose()
