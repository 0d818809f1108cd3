// The strip of dependencies, and the field for a credential where one is asked for.

import { credential, json, setCredential, whenRefused } from "./api.js";
import { byId, element } from "./dom.js";

const EVERY = 5000;

/** Keeps the strip up to date; `usable` runs once calls can be made, and after another credential was given. */
export async function start(usable) {
  byId("credential").addEventListener("submit", (event) => {
    event.preventDefault();
    setCredential(byId("token").value.trim());
    usable();
  });
  byId("token").value = credential();
  whenRefused(() => {
    byId("credential").hidden = false;
    byId("token").focus();
  });
  const authentication = await refresh();
  if (authentication === "none" || credential()) usable();
  setInterval(() => {
    if (!document.hidden) refresh();
  }, EVERY);
}

async function refresh() {
  try {
    const status = await json("/v1/status");
    byId("version").textContent = `version ${status.version}`;
    byId("credential").hidden = status.authentication === "none";
    show(status.dependencies);
    return status.authentication;
  } catch {
    show([{ name: "gateway", up: false }]);
    return "unknown";
  }
}

function show(dependencies) {
  const items = dependencies.map(({ name, up }) => {
    const item = element("li", { class: up ? "up" : "down" }, name);
    item.append(element("span", { class: "quiet" }, up ? " is up" : " is down"));
    return item;
  });
  byId("status").replaceChildren(...items);
}
