// What a page reads beside the stream: asked for once when the page is shown with these words, and again when it is wanted.

import { read } from "./api.js";

// { value, failure, again }. name: of what is kept; draw: called when the answer is there
export function loaded(state, name, path, query, draw) {
  const asked = JSON.stringify([path, query]);
  const known = state.loaded.get(name);
  const again = async () => {
    const kept = { asked, value: state.loaded.get(name)?.value ?? null, failure: "", busy: true };
    state.loaded.set(name, kept);
    try {
      kept.value = await read(path, query);
    } catch (error) {
      kept.failure = error.message;
    }
    kept.busy = false;
    draw();
  };
  if (known?.asked !== asked) {
    again();
    return { value: known?.value ?? null, failure: "", again };
  }
  return { ...known, again };
}
