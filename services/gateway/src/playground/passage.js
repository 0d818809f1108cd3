// A passage in its place: the document's text around it, the quoted words marked.

import { json } from "./api.js";
import { byId, element } from "./dom.js";

// Chunks shown before and after the passage.
const AROUND = 1;

/** Wires the dialog up. */
export function start() {
  byId("passage-close").addEventListener("click", () => byId("passage").close());
  byId("passage").addEventListener("click", (event) => {
    if (event.target === byId("passage")) byId("passage").close();
  });
}

/** Shows a passage; the text around it comes when it can. */
export async function showPassage(context, quote) {
  const dialog = byId("passage");
  byId("passage-title").textContent = context.title || context.document_id;
  byId("passage-where").textContent = `${context.document_id}, version ${context.version}, passage ${context.chunk_index + 1}`;
  byId("passage-text").replaceChildren(...marked(context.content, quote));
  dialog.showModal();
  try {
    const from = Math.max(0, context.chunk_index - AROUND);
    const limit = context.chunk_index - from + 1 + AROUND;
    const text = await json(`/v1/documents/${encodeURIComponent(context.document_id)}/text?from=${from}&limit=${limit}`);
    // The document may have a newer version by now: then the passage stays as the answer had it.
    if (dialog.open && text.version === context.version) place(text.chunks, context, quote);
  } catch (error) {
    if (error.name !== "AbortError") byId("passage-where").append(` (${error.message})`);
  }
}

function place(chunks, context, quote) {
  const own = chunks.find((chunk) => chunk.chunk_index === context.chunk_index);
  if (!own || own.content !== context.content) return;
  const before = chunks.filter((chunk) => chunk.chunk_index < own.chunk_index).map((chunk) => cut(chunk, own, true));
  const after = chunks.filter((chunk) => chunk.chunk_index > own.chunk_index).map((chunk) => cut(chunk, own, false));
  const around = (text) => element("span", { class: "around" }, text);
  byId("passage-text").replaceChildren(...before.map(around), element("span", { id: "passage-own" }, ...marked(own.content, quote)), ...after.map(around));
  byId("passage-own").scrollIntoView({ block: "nearest" });
}

// Neighbours overlap: only what the passage itself does not show. Positions count characters, not UTF-16 units.
function cut(chunk, own, before) {
  const characters = Array.from(chunk.content);
  if (before) return characters.slice(0, Math.max(0, own.start - chunk.start)).join("");
  return characters.slice(Math.max(0, own.end - chunk.start)).join("");
}

function marked(text, quote) {
  const at = quote ? text.indexOf(quote) : -1;
  if (at < 0) return [text];
  return [text.slice(0, at), element("mark", {}, quote), text.slice(at + quote.length)];
}
