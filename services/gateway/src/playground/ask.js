// Asking: the answer as it is written, its citations, what it lacks, how long it took, and what the reader thinks of it.

import { events, post } from "./api.js";
import { byId, element, time } from "./dom.js";
import { showPassage } from "./passage.js";

const STEPS = ["embed", "search", "generate"];
let running = null;
let contexts = [];

/** Wires the form up. */
export function start() {
  byId("question-form").addEventListener("submit", (event) => {
    event.preventDefault();
    ask();
  });
  byId("question").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      byId("question-form").requestSubmit();
    }
  });
  byId("stop").addEventListener("click", () => running?.abort());
}

async function ask() {
  running?.abort();
  const mine = new AbortController();
  running = mine;
  reset();
  const question = { query: byId("question").value, k: Number(byId("k").value), mode: byId("mode").value, stream: true };
  try {
    const response = await post("/v1/query", question, { signal: mine.signal });
    await follow(response);
  } catch (error) {
    if (running === mine) fail(error.name === "AbortError" ? "Stopped." : error.message);
  } finally {
    if (running === mine) {
      running = null;
      byId("text").setAttribute("aria-busy", "false");
      byId("stop").hidden = true;
    }
  }
}

function reset() {
  contexts = [];
  byId("answer").hidden = false;
  byId("stop").hidden = false;
  for (const id of ["badges", "text", "bar", "legend", "contexts"]) byId(id).replaceChildren();
  for (const id of ["rating", "timings", "sources"]) byId(id).hidden = true;
  byId("text").className = "";
  byId("text").setAttribute("aria-busy", "true");
}

function fail(message) {
  byId("text").className = "failed";
  byId("text").append(byId("text").childNodes.length > 0 ? `\n${message}` : message);
}

async function follow(response) {
  for await (const { event, data } of events(response)) {
    if (event === "contexts") showContexts(data.contexts);
    else if (event === "delta") byId("text").append(data.text);
    else if (event === "restart") byId("text").replaceChildren();
    else if (event === "done") return finish(data);
    else if (event === "error") throw new Error(data.detail);
  }
  throw new Error("The answer broke off.");
}

function showContexts(found) {
  contexts = found;
  byId("sources").hidden = found.length === 0;
  const items = found.map((context, n) => {
    const name = `[${n + 1}] ${context.title || context.document_id}`;
    const open = () => showPassage(context, "");
    const excerpt = element("span", { class: "excerpt" }, context.content);
    return element("li", {}, element("button", { type: "button", onclick: open }, element("strong", {}, name), excerpt));
  });
  byId("contexts").replaceChildren(...items);
}

function finish(answer) {
  if (answer.contexts) showContexts(answer.contexts);
  byId("text").replaceChildren(...withMarkers(answer));
  for (const { marker } of answer.citations) {
    byId("contexts").children[marker - 1]?.firstChild.classList.add("cited");
  }
  showBadges(answer);
  showTimings(answer.timings_ms);
  offerRating(answer.query_id);
}

// The answer's text with each `[n]` that is a citation as a button.
function withMarkers(answer) {
  const citations = new Map(answer.citations.map((citation) => [citation.marker, citation]));
  return answer.answer.split(/(\[\d+\])/).map((part) => {
    const citation = citations.get(Number(part.match(/^\[(\d+)\]$/)?.[1]));
    const context = citation && contexts[citation.marker - 1];
    if (!context) return part;
    const label = `Source ${citation.marker}: ${context.title || context.document_id}`;
    const open = () => showPassage(context, citation.quote);
    return element("button", { type: "button", class: "marker", title: citation.quote, "aria-label": label, onclick: open }, part);
  });
}

function showBadges(answer) {
  const badges = answer.degraded.map((code) => element("li", { class: "warn" }, code));
  if (!answer.sources_complete) badges.push(element("li", { class: "warn" }, "not every shard answered"));
  badges.push(element("li", {}, `cache: ${answer.cache}`), element("li", {}, answer.model));
  const { prompt_tokens: read, completion_tokens: written } = answer.usage;
  if (read + written > 0) badges.push(element("li", {}, `${read} + ${written} tokens`));
  byId("badges").replaceChildren(...badges);
}

function showTimings(timings) {
  const spent = STEPS.map((step) => [step, timings[step] ?? 0]);
  const known = spent.reduce((sum, [, ms]) => sum + ms, 0);
  spent.push(["other", Math.max(0, timings.total - known)]);
  const whole = Math.max(timings.total, known, 0.001);
  byId("bar").replaceChildren(
    ...spent.map(([step, ms]) => {
      const part = element("span", { class: step });
      part.style.width = `${(100 * ms) / whole}%`;
      return part;
    }),
  );
  const label = spent.map(([step, ms]) => `${step} ${time(ms)}`).join(", ");
  byId("bar").setAttribute("aria-label", `Time spent: ${label}`);
  const entry = ([step, ms]) => element("div", { class: step }, element("dt", {}, step), element("dd", {}, time(ms)));
  byId("legend").replaceChildren(...spent.map(entry), element("div", {}, element("dd", {}, `total ${time(timings.total)}`)));
  byId("timings").hidden = false;
}

function offerRating(query) {
  const said = byId("rating-said");
  said.textContent = "";
  byId("rating").hidden = false;
  for (const button of byId("rating").querySelectorAll("button")) {
    button.setAttribute("aria-pressed", "false");
    button.onclick = async () => {
      try {
        await post("/v1/feedback", { query_id: query, rating: button.dataset.rating });
        for (const other of byId("rating").querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
        said.textContent = "Thank you.";
      } catch (error) {
        said.textContent = error.message;
      }
    };
  }
}
