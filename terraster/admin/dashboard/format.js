// Numbers, times and states in the words of the page.

const UNITS = ["", "k", "M", "G", "T"];

// 12345 → "12.3k". Numbers below 1,000 have at most one digit behind the point.
export function short(number) {
  if (number === null || number === undefined || Number.isNaN(number)) return "–";
  let unit = 0;
  while (Math.abs(number) >= 1000 && unit < UNITS.length - 1) {
    number /= 1000;
    unit += 1;
  }
  const text = unit === 0 && Number.isInteger(number) ? String(number) : number.toFixed(Math.abs(number) < 100 ? 1 : 0);
  return text.replace(/\.0$/, "") + UNITS[unit];
}

// Seconds → "1.2 ms", "350 ms", "2.1 s".
export function time(seconds) {
  if (seconds === null || seconds === undefined || Number.isNaN(seconds)) return "–";
  if (seconds < 0.1) return `${(seconds * 1000).toFixed(seconds < 0.01 ? 2 : 1)} ms`;
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
}

// Seconds → "45 s", "12 min", "3 h 20 min", "5 days".
export function span(seconds) {
  seconds = Math.max(0, Math.round(seconds));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172800) {
    const minutes = Math.floor((seconds % 3600) / 60);
    return `${Math.floor(seconds / 3600)} h${minutes ? ` ${minutes} min` : ""}`;
  }
  return `${Math.floor(seconds / 86400)} days`;
}

// A moment (seconds since 1970) in the zone of the viewer.
export function moment(seconds) {
  if (!seconds) return "–";
  return new Date(seconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
}

// The hour and minute of a moment of the last day, in the zone of the viewer.
export function clock(seconds) {
  return new Date(seconds * 1000).toLocaleTimeString(undefined, { hour: "2-digit", minute: "2-digit" });
}

export function share(part, whole) {
  if (!whole) return "–";
  const percent = (100 * part) / whole;
  if (percent === 0) return "0 %";
  return `${percent < 0.1 ? "<0.1" : percent.toFixed(percent < 10 ? 1 : 0)} %`;
}

export function count(number, one, many = `${one}s`) {
  return `${number} ${number === 1 ? one : many}`;
}
