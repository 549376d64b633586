// What the counters of the status document did between two looks: rates, shares of errors and times, for the last minutes.

const KEPT = 90; // looks
const LOOKS = 5; // that a figure is of, so that it does not jump
const SHARES = [0.5, 0.95, 0.99];
const RECENT = 60; // seconds
const LIMITS = ["rate_limit", "limit_connections"];
const none = { rate: null, errors: null, times: null };

export class Samples {
  constructor() {
    this.last = new Map(); // name → counters and the moment of the look before
    this.rows = new Map(); // name → the last looks, oldest first
    this.refusals = new Map(); // name and limit → [moment, refusals], oldest first
    this.durations = new Map(); // name → requests by their duration at the last few looks, oldest first
  }

  // Take over a status document.
  take(status) {
    const seen = new Set();
    for (const service of status.services) {
      const total = { requests: 0, errors: 0, durations: null };
      for (const location of service.locations) {
        const counters = ofLocation(location);
        total.requests += counters.requests;
        total.errors += counters.errors;
        total.durations = sum(total.durations, counters.durations);
        this._add(`${service.name}${location.path}`, counters, status, seen);
        for (const kind of LIMITS) {
          if (location.filters?.[kind]) this._refused(`${service.name}${location.path} ${kind}`, location.filters[kind], status.now, seen);
        }
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
        this.durations.delete(name);
      }
    }
    for (const name of [...this.refusals.keys()]) if (!seen.has(name)) this.refusals.delete(name);
  }

  _add(name, counters, status, seen) {
    seen.add(name);
    const before = this.last.get(name);
    this.last.set(name, { requests: counters.requests, errors: counters.errors, now: status.now });
    const rows = this.rows.get(name) ?? [];
    this.rows.set(name, rows);
    if (before && counters.requests < before.requests) this.durations.delete(name); // the counters began anew
    const times = this._times(name, counters.durations, status.duration_bounds);
    if (!before || before.now >= status.now) return;
    const requests = counters.requests - before.requests;
    if (requests < 0) {
      rows.push(none);
    } else {
      rows.push({
        rate: requests / (status.now - before.now),
        errors: requests ? Math.max(0, counters.errors - before.errors) / requests : 0,
        times,
      });
    }
    if (rows.length > KEPT) rows.shift();
  }

  // p50, p95 and p99 of the requests of the last looks, in seconds; null if there were none.
  _times(name, durations, bounds) {
    const looks = this.durations.get(name) ?? [];
    this.durations.set(name, looks);
    looks.push(durations);
    if (looks.length > LOOKS + 1) looks.shift();
    if (!durations) return null;
    const counts = durations.map((count, at) => Math.max(0, count - (looks[0]?.[at] ?? 0)));
    return counts.some(Boolean) ? SHARES.map((share) => quantile(bounds, counts, share)) : null;
  }

  _refused(name, counts, now, seen) {
    seen.add(name);
    const looks = this.refusals.get(name) ?? [];
    this.refusals.set(name, looks);
    looks.push([now, (counts.refused ?? 0) + (counts.observed ?? 0)]);
    while (looks.length > 2 && now - looks[1][0] >= RECENT) looks.shift();
  }

  // What a limit refused in the last minute, or since the page was opened: { number, seconds }; null: nothing is known
  refused(place, kind) {
    const looks = this.refusals.get(`${place} ${kind}`) ?? [];
    if (looks.length < 2) return null;
    const [[began, before], [ended, now]] = [looks[0], looks.at(-1)];
    return { number: Math.max(0, now - before), seconds: ended - began };
  }

  // The last looks at something. rate: requests per second; errors: part of them; times: p50, p95 and p99 of the last few looks
  of(name) {
    return this.rows.get(name) ?? [];
  }

  // Over the last few looks.
  lately(name) {
    const rows = this.of(name)
      .slice(-LOOKS)
      .filter((row) => row.rate !== null);
    if (!rows.length) return none;
    const rate = rows.reduce((sum, row) => sum + row.rate, 0) / rows.length;
    const weight = rows.reduce((sum, row) => sum + row.rate, 0);
    return {
      rate,
      errors: weight ? rows.reduce((sum, row) => sum + row.errors * row.rate, 0) / weight : 0,
      times: rows.at(-1).times,
    };
  }
}

function ofLocation(location) {
  return { requests: location.requests, errors: location.responses["5xx"] ?? 0, durations: location.durations };
}

function ofBackend(backend) {
  const failed = backend.failures ?? 0;
  return { requests: backend.requests, errors: failed + (backend.responses["5xx"] ?? 0), durations: null };
}

function sum(one, other) {
  if (!one || !other) return one ?? other;
  return one.map((count, at) => count + other[at]);
}

// The time that a share (0 … 1) of requests did not exceed, taken as evenly spread within a bucket. bounds: the upper ends of the buckets,
// seconds; counts: requests in each, and then those beyond the last one, which count as its end
export function quantile(bounds, counts, share) {
  let left = share * counts.reduce((sum, count) => sum + count, 0);
  let lower = 0;
  for (const [at, bound] of bounds.entries()) {
    if (counts[at] && left <= counts[at]) return lower + ((bound - lower) * left) / counts[at];
    left -= counts[at];
    lower = bound;
  }
  return lower;
}
