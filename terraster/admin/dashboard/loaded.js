// What a page reads beside the stream: asked for once when the page is shown with these words, and again when it is wanted.

import { read } from "./api.js";

// { value, failure, again }. name: of what is kept; draw: called when the answer is there; every: seconds after which it is asked for
// again, 0: never
export function loaded(state, name, path, query, draw, every = 0) {
  const asked = JSON.stringify([path, query]);
  const known = state.loaded.get(name);
  const ask = async (kept) => {
    try {
      kept.value = await read(path, query);
      kept.failure = "";
    } catch (error) {
      kept.failure = error.message;
    }
    kept.busy = false;
    draw();
  };
  const again = () => {
    const before = state.loaded.get(name);
    const kept = { asked, value: before?.asked === asked ? before.value : null, failure: "", busy: true, when: Date.now() };
    state.loaded.set(name, kept);
    return ask(kept);
  };
  if (known?.asked !== asked) {
    again();
    return { value: null, failure: "", again };
  }
  if (every && !known.busy && Date.now() - known.when >= every * 1000) {
    known.when = Date.now();
    ask(known); // what is shown stays until then
  }
  return { ...known, again };
}
