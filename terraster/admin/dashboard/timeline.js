// What the events of a day say about a backend: which states it was in, for how long, and why.

export const DAY = 86400; // seconds

// The name of a backend in events. address: of one of its addresses, where its host name has several
export function target(service, location, backend) {
  return `${service.name}${location.path} ${backend.url}${backend.endpoint ? `@${backend.endpoint}` : ""}`;
}

// The text of a change of state: "down: connection refused (by ada)" → { state: "down", why: "connection refused (by ada)" }
export function change(text) {
  const [, state, why] = /^([a-z-]+):?\s*(.*)$/s.exec(text) ?? ["", text, ""];
  return { state, why };
}

// The times that a backend spent in its states, the oldest first: { state, why, from, to }, in seconds since 1970. state "": not known.
// events: its changes of state; backend: as the status has it now; from, to: the bounds of the time that is looked at
export function periods(events, backend, from, to) {
  const changes = events
    .filter((one) => one.when >= from && one.when < to)
    .map((one) => ({ ...change(one.text), from: one.when }))
    .sort((one, other) => one.from - other.from);
  if (changes.at(-1)?.state !== backend.state) {
    const since = Math.max(backend.since ?? from, changes.at(-1)?.from ?? from, from);
    changes.push({ state: backend.state, why: backend.order?.reason || backend.reason || "", from: since });
  }
  if (changes[0].from > from) changes.unshift({ state: "", why: "", from });
  return changes.map((one, at) => ({ ...one, to: changes[at + 1]?.from ?? to })).filter((one) => one.to > one.from);
}

// Seconds of these times in which the backend was in a state other than up.
export function away(found) {
  return found.filter((one) => one.state && one.state !== "up").reduce((sum, one) => sum + one.to - one.from, 0);
}

// A day of minutes as slots of five: { from, seconds, requests, errors, times }.
// requests, errors: per second; requests of the last slot is null as long as nothing of it is known
// times: p50, p95 and p99, each of the worst minute; null: there was no traffic
// minutes: rows of /api/history; now: seconds since 1970
export function slots(minutes, now) {
  const last = Math.floor(now / SLOT) * SLOT;
  const first = last - DAY + SLOT;
  const found = Array.from({ length: DAY / SLOT }, (_, at) => ({
    from: first + at * SLOT,
    seconds: Math.max(60, Math.min(SLOT, now - first - at * SLOT)),
    requests: 0,
    errors: 0,
    times: null,
  }));
  for (const [when, requests, , errors, ...times] of minutes) {
    const slot = found[Math.floor((when - first) / SLOT)];
    if (!slot) continue;
    slot.requests += requests;
    slot.errors += errors;
    slot.times = slot.times ? slot.times.map((time, at) => Math.max(time, times[at])) : times;
  }
  if (!found.at(-1).times) found.at(-1).requests = null; // its minutes are not over
  for (const slot of found) {
    if (slot.requests === null) continue;
    slot.requests /= slot.seconds;
    slot.errors /= slot.seconds;
  }
  return found;
}

const SLOT = 300; // seconds
