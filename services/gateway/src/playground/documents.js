// The documents: uploads with their progress, the list, deletion.

import { call, events, json } from "./api.js";
import { byId, element, size } from "./dom.js";

const PAGE = 50;
const TYPES = {
  md: "text/markdown", markdown: "text/markdown", txt: "text/plain", html: "text/html", htm: "text/html", pdf: "application/pdf",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document", json: "application/json",
};
// Files sent at a time.
const PARALLEL = 3;
let cursor = null;
let queue = [];
let sending = 0;

/** Wires list and uploads up. */
export function start() {
  byId("files").addEventListener("change", (event) => {
    enqueue(event.target.files);
    event.target.value = "";
  });
  const drop = byId("drop");
  // Anywhere on the page: a file dropped beside the box would else replace the page.
  for (const kind of ["dragenter", "dragover"]) {
    window.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.add("over");
    });
  }
  window.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) drop.classList.remove("over");
  });
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    drop.classList.remove("over");
    enqueue(event.dataTransfer.files);
  });
  byId("more").addEventListener("click", () => load(cursor));
}

/** Reads the list anew. */
export const refresh = () => load(null);

async function load(from) {
  const note = byId("documents-note");
  try {
    const page = await json(`/v1/documents?limit=${PAGE}${from ? `&cursor=${encodeURIComponent(from)}` : ""}`);
    const items = page.items.map(item);
    if (from) byId("documents").append(...items);
    else byId("documents").replaceChildren(...items);
    cursor = page.next_cursor;
    byId("more").hidden = !cursor;
    note.textContent = byId("documents").childElementCount > 0 ? "" : "There are no documents yet.";
  } catch (error) {
    note.textContent = error.message;
  }
}

function item(found) {
  const facts = [found.document_id, found.status, size(found.bytes), `${found.chunks} ${found.chunks === 1 ? "passage" : "passages"}`, found.error].filter(Boolean);
  const remove = async (event) => {
    if (!confirm(`Delete “${found.document_id}”?`)) return;
    event.target.disabled = true;
    try {
      const accepted = await (await call(path(found.document_id), { method: "DELETE" })).json();
      for await (const { data } of jobStates(accepted.job_id)) if (data.status === "done") break;
      await refresh();
    } catch (error) {
      byId("documents-note").textContent = error.message;
      event.target.disabled = false;
    }
  };
  return element(
    "li",
    { class: found.status === "failed" ? "failed" : "" },
    element("div", {}, element("strong", {}, found.title || found.document_id), element("small", {}, facts.join(" · "))),
    element("button", { type: "button", "aria-label": `Delete ${found.document_id}`, onclick: remove }, "Delete"),
  );
}

const path = (id) => `/v1/documents/${encodeURIComponent(id)}`;

function enqueue(files) {
  for (const file of files) {
    const said = element("small", {}, "waiting");
    const bar = element("progress", { max: "1", value: "0", "aria-label": file.name });
    const entry = element("li", {}, element("strong", {}, file.name), " ", said, bar);
    byId("uploads").append(entry);
    queue.push({ file, said, bar, entry });
  }
  next();
}

function next() {
  while (sending < PARALLEL && queue.length > 0) {
    sending += 1;
    send(queue.shift()).finally(() => {
      sending -= 1;
      next();
    });
  }
}

async function send({ file, said, bar, entry }) {
  try {
    said.textContent = "sending";
    const type = TYPES[file.name.split(".").pop().toLowerCase()] ?? file.type;
    const options = { method: "PUT", headers: { "content-type": type || "application/octet-stream" }, body: file };
    const accepted = await (await call(path(file.name), options)).json();
    let last = accepted;
    for await (const { event, data } of jobStates(accepted.job_id)) {
      if (event === "error") throw new Error(data.detail);
      last = data;
      bar.value = data.progress;
      said.textContent = data.status === "running" ? data.stage : data.status;
    }
    if (last.status !== "done") throw new Error(last.error ?? `The job is ${last.status}.`);
    bar.remove();
    said.textContent = accepted.unchanged ? "is stored already, unchanged" : "searchable";
    setTimeout(() => entry.remove(), 5000);
  } catch (error) {
    entry.classList.add("failed");
    said.textContent = error.message;
    bar.remove();
  }
  await refresh();
}

async function* jobStates(job) {
  yield* events(await call(`/v1/jobs/${encodeURIComponent(job)}/events`));
}
