// Calls of the API: the credential, JSON, Server-Sent Events, and errors as sentences.

const KEY = "ragstone-token";
let onRefused = () => {};

/** What to do when a call needs another credential. */
export function whenRefused(action) {
  onRefused = action;
}

/** The credential of this tab; it is gone when the tab is. */
export const credential = () => sessionStorage.getItem(KEY) ?? "";

/** Keeps a credential for this tab. */
export function setCredential(token) {
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

/** A failed call; its message is meant for people. */
export class Failure extends Error {}

async function failure(response) {
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    // A proxy's page, or nothing: the status has to do.
  }
  if (response.status === 401) onRefused();
  const wait = response.headers.get("retry-after");
  const later = wait && (response.status === 429 || response.status === 503) ? ` Try again in ${wait} s.` : "";
  return new Failure(`${problem.detail ?? `The server answered ${response.status}.`}${later}`);
}

/** The response to a call that succeeded. */
export async function call(path, { method = "GET", headers = {}, body, signal } = {}) {
  const token = credential();
  const all = token ? { ...headers, authorization: `Bearer ${token}` } : headers;
  let response;
  try {
    response = await fetch(path, { method, headers: all, body, signal, cache: "no-store", credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server cannot be reached.");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

/** The JSON of a call that succeeded. */
export async function json(path, options) {
  return (await call(path, options)).json();
}

/** Sends an object as JSON. */
export const post = (path, value, options = {}) =>
  call(path, { ...options, method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(value) });

/** The events of a stream: `{event, data}` with the data parsed. `EventSource` could send no credential. */
export async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  try {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      rest += value;
      const blocks = rest.split(/\r?\n\r?\n/);
      rest = blocks.pop();
      for (const block of blocks) {
        const found = parse(block);
        if (found) yield found;
      }
    }
  } finally {
    await reader.cancel().catch(() => {});
  }
}

function parse(block) {
  let event = "message";
  const data = [];
  for (const line of block.split(/\r?\n/)) {
    if (line.startsWith("event:")) event = line.slice(6).trim();
    if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return data.length > 0 ? { event, data: JSON.parse(data.join("\n")) } : null;
}
