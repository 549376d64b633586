// What the counters of the status document did between two looks: rates, shares of errors and mean times, for the last minutes.

const KEPT = 90; // looks
const none = { rate: null, errors: null, mean: null };

export class Samples {
  constructor() {
    this.last = new Map(); // name → counters and the moment of the look before
    this.rows = new Map(); // name → the last looks, oldest first
  }

  // Take over a status document.
  take(status) {
    const seen = new Set();
    for (const service of status.services) {
      const total = { requests: 0, errors: 0, time: 0 };
      for (const location of service.locations) {
        const counters = ofLocation(location);
        for (const key of Object.keys(total)) total[key] += counters[key];
        this._add(`${service.name}${location.path}`, counters, status, seen);
        for (const backend of location.backends) {
          this._add(`${service.name}${location.path} ${backend.url} ${backend.address}`, ofBackend(backend), status, seen);
        }
      }
      this._add(service.name, total, status, seen);
    }
    for (const name of [...this.rows.keys()]) {
      if (!seen.has(name)) {
        this.rows.delete(name);
        this.last.delete(name);
      }
    }
  }

  _add(name, counters, status, seen) {
    seen.add(name);
    const before = this.last.get(name);
    this.last.set(name, { ...counters, now: status.now, started: status.started });
    const rows = this.rows.get(name) ?? [];
    this.rows.set(name, rows);
    if (!before || before.now >= status.now) return;
    const requests = counters.requests - before.requests;
    if (requests < 0) {
      rows.push(none); // the counters began anew
    } else {
      rows.push({
        rate: requests / (status.now - before.now),
        errors: requests ? Math.max(0, counters.errors - before.errors) / requests : 0,
        mean: requests && counters.time !== null ? Math.max(0, counters.time - before.time) / requests : null,
      });
    }
    if (rows.length > KEPT) rows.shift();
  }

  // The last looks at something. rate: requests per second; errors: part of them; mean: seconds
  of(name) {
    return this.rows.get(name) ?? [];
  }

  // Over the last `looks`: enough that a figure does not jump.
  lately(name, looks = 5) {
    const rows = this.of(name).slice(-looks).filter((row) => row.rate !== null);
    if (!rows.length) return none;
    const rate = rows.reduce((sum, row) => sum + row.rate, 0) / rows.length;
    const weight = rows.reduce((sum, row) => sum + row.rate, 0);
    const timed = rows.filter((row) => row.mean !== null);
    const timedWeight = timed.reduce((sum, row) => sum + row.rate, 0);
    return {
      rate,
      errors: weight ? rows.reduce((sum, row) => sum + row.errors * row.rate, 0) / weight : 0,
      mean: timedWeight ? timed.reduce((sum, row) => sum + row.mean * row.rate, 0) / timedWeight : null,
    };
  }
}

function ofLocation(location) {
  const errors = location.responses["5xx"] ?? 0;
  return { requests: location.requests, errors, time: (location.mean_duration ?? 0) * location.requests };
}

function ofBackend(backend) {
  const failed = backend.failures ?? 0;
  return { requests: backend.requests, errors: failed + (backend.responses["5xx"] ?? 0), time: null };
}
