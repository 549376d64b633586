// Calls of the management API. The browser sends the session's cookie by itself.

export class Refused extends Error {
  // What the API said: status, and a problem of RFC 9457.
  constructor(status, problem) {
    const further = (problem.errors ?? []).map((one) => (one.pointer ? `${one.pointer}: ${one.detail}` : one.detail));
    super([problem.detail || problem.title || problem.error || `status ${status}`, ...further].join("; "));
    this.status = status;
    this.problem = problem;
  }
}

// The answer as a value. Raises Refused, or TypeError if Terraster cannot be reached.
export async function call(method, path, { query = {}, body, headers = {} } = {}) {
  const asked = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined));
  const answer = await fetch(`${path}${asked.size ? `?${asked}` : ""}`, {
    method,
    credentials: "same-origin",
    redirect: "error",
    headers: { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }), ...headers },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const value = await valueOf(answer);
  if (!answer.ok) throw new Refused(answer.status, value ?? {});
  return { value, etag: answer.headers.get("ETag"), status: answer.status };
}

export const read = async (path, query) => (await call("GET", path, { query })).value;

async function valueOf(answer) {
  const text = await answer.text();
  try {
    return text ? JSON.parse(text) : null;
  } catch {
    return { detail: `the answer with status ${answer.status} is not JSON` };
  }
}

// The events of a stream as they come: { name, data }. Raises as `call` does. signal: ends it
export async function* stream(path, signal) {
  const answer = await fetch(path, { credentials: "same-origin", redirect: "error", headers: { Accept: "text/event-stream" }, signal });
  if (!answer.ok) throw new Refused(answer.status, (await valueOf(answer)) ?? {});
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let waiting = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (waiting + value).split("\n\n");
    waiting = blocks.pop();
    for (const block of blocks) {
      const fields = block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trimStart()]);
      const name = fields.find(([key]) => key === "event")?.[1];
      const data = fields.filter(([key]) => key === "data").map(([, text]) => text).join("\n");
      if (name) yield { name, data: data ? JSON.parse(data) : null };
    }
  }
}
