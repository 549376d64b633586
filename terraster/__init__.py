"""Terraster: a Layer-7 load balancer and reverse proxy.

    terraster (master)             loads and checks the configuration, binds, probes backends, forks, supervises, reloads
     ├─ proxy worker, seat 1 …     one greenlet per client connection; everything a client feels happens here
     └─ admin worker               metrics, status, the control socket

A configuration goes through three forms: `terraster.config.settings.Settings` (what was written, every key checked),
`terraster.config.snapshot.Snapshot` (frozen values, everything inherited filled in), `terraster.plan.Plan` (compiled, one per process).
A reload sends what changed to every process over its control channel; each swaps one reference, and requests under way finish on the
plan they began with.

What processes must know of each other lies in the shared table (`terraster.state.table`): every cell has one writer, readers add up.

A request's life stands in `terraster.proxy`, top to bottom. Rooms are floors, and import only what lies below (checked in CI):

    7  cli/  admin/                      faces
    6  master/  worker/                  processes
    5  proxy.py  plan.py                 the life of a request
    4  net/  logs/                       sockets, files
    3  filters/                          what may answer or edit
    2  route/  balance/  policy/         decisions: pure, the clock is an argument
    1  config/  state/  exchange.py      facts
    0  errors.py  wire/                  words: octets to values
"""

__version__ = "0.1.0"
