// Opens the API's reference in a real Chromium, unfolds a call and sends it. Usage: node reference.mjs URL. Prints one JSON
// object: what was asked for elsewhere and what the console complained about. Any failure ends it with another exit code.

import { createRequire } from "node:module";
import path from "node:path";
import process from "node:process";

const [url] = process.argv.slice(2);
const require = createRequire(path.join(process.env.RAGSTONE_TEST_BROWSER, "node_modules", "x.js"));
const { chromium } = require("playwright-core");

const seen = { foreign: [], console: [], calls: 0 };
const browser = await chromium.launch({ executablePath: process.env.RAGSTONE_TEST_CHROMIUM, args: ["--no-sandbox"] });
try {
  const page = await browser.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) seen.foreign.push(request.url());
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.console.push(message.text());
  });
  page.on("pageerror", (error) => seen.console.push(String(error)));
  await page.goto(`${url}/docs`);
  await page.locator(".opblock").first().waitFor({ timeout: 60_000 });
  seen.calls = await page.locator(".opblock").count();
  const status = page.locator("#operations-status-status");
  await status.locator("button.opblock-summary-control").click();
  await status.getByRole("button", { name: "Try it out" }).click();
  await status.getByRole("button", { name: "Execute" }).click();
  await status.locator(".live-responses-table", { hasText: '"ready": true' }).waitFor({ timeout: 30_000 });
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
