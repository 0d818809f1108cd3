// Drives the playground in a real Chromium: upload, question, citation, rating, deletion, at desktop and phone widths.
// Usage: node playground.mjs URL SCREENSHOT_DIR [TOKEN]. Prints one JSON object: what was asked for elsewhere, what the
// console complained about, and what was seen. Any failure ends it with another exit code.

import { createRequire } from "node:module";
import { mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import process from "node:process";

const [url, screenshots, token] = process.argv.slice(2);
const require = createRequire(path.join(process.env.RAGSTONE_TEST_BROWSER, "node_modules", "x.js"));
const { chromium } = require("playwright-core");

const FACT = "The bell of Nordhafen was cast in 1612 by Marta Quist.";
const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script> & "quotes"`;
const seen = { foreign: [], console: [], titles: [], checks: [] };
const check = (name, truth) => {
  if (!truth) throw new Error(`not as it should be: ${name}`);
  seen.checks.push(name);
};

async function open(browser, size) {
  const context = await browser.newContext({ viewport: size.viewport, colorScheme: size.scheme, hasTouch: size.phone, isMobile: size.phone });
  const page = await context.newPage();
  page.on("request", (request) => {
    if (!request.url().startsWith(url) && !request.url().startsWith("data:")) seen.foreign.push(request.url());
  });
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) seen.console.push(message.text());
  });
  page.on("pageerror", (error) => seen.console.push(String(error)));
  page.on("dialog", (dialog) => dialog.accept());
  await page.goto(url);
  if (token) {
    await page.fill("#token", token);
    await page.click("#credential button");
  }
  return page;
}

async function upload(page, files) {
  await page.setInputFiles("#files", files);
  for (const file of files) {
    const name = path.basename(file);
    await page.locator("#documents li", { hasText: name }).filter({ hasText: "ready" }).waitFor({ timeout: 60_000 });
  }
}

// As a person drops files on the page.
async function drop(page, name, text) {
  await page.evaluate(([name, text]) => {
    const data = new DataTransfer();
    data.items.add(new File([text], name, { type: "text/plain" }));
    const event = (kind) => document.body.dispatchEvent(new DragEvent(kind, { dataTransfer: data, bubbles: true, cancelable: true }));
    event("dragenter");
    event("drop");
  }, [name, text]);
  await page.locator("#documents li", { hasText: name }).filter({ hasText: "ready" }).waitFor({ timeout: 60_000 });
}

async function ask(page) {
  await page.fill("#question", "Who cast the bell of Nordhafen?");
  // By the keyboard alone.
  await page.focus("#question");
  await page.keyboard.press("Enter");
  await page.locator("#text[aria-busy=false]").waitFor({ timeout: 60_000 });
  const answer = await page.textContent("#text");
  check("the answer tells who", answer.includes("Marta Quist"));
  check("the answer cites", (await page.locator("#text .marker").count()) > 0);
  check("the time is shown", (await page.locator("#bar span").count()) === 4);
  check("the cache's state is shown", (await page.textContent("#badges")).includes("cache:"));
}

async function openCitation(page) {
  await page.locator("#text .marker").first().focus();
  await page.keyboard.press("Enter");
  await page.locator("#passage[open]").waitFor();
  check("the passage is shown", (await page.textContent("#passage-text")).includes("Marta Quist"));
  check("the quote is marked", (await page.locator("#passage-text mark").count()) === 1);
}

async function widths(page, name) {
  const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, window.innerWidth]);
  check(`nothing is wider than the ${name}`, content <= view);
}

const directory = await mkdtemp(path.join(tmpdir(), "playground-"));
const bell = path.join(directory, "bell.md");
await writeFile(bell, `# Nordhafen\n\n${FACT}\n\nIt still rings at noon.\n`);

const browser = await chromium.launch({ executablePath: process.env.RAGSTONE_TEST_CHROMIUM, args: ["--no-sandbox"] });
try {
  const desktop = await open(browser, { viewport: { width: 1280, height: 900 }, scheme: "light", phone: false });
  await upload(desktop, [bell]);
  await drop(desktop, "hostile.txt", `${HOSTILE}\nThe hostile gate of Sudhafen opens at dawn.\n`);
  await ask(desktop);
  await desktop.screenshot({ path: path.join(screenshots, "desktop.png"), fullPage: true });
  await openCitation(desktop);
  await desktop.screenshot({ path: path.join(screenshots, "desktop-passage.png") });
  await desktop.keyboard.press("Escape");
  check("Escape closes the passage", (await desktop.locator("#passage[open]").count()) === 0);
  await desktop.click("[data-rating=up]");
  await desktop.locator("#rating-said", { hasText: "Thank you" }).waitFor();
  check("dependencies are shown", (await desktop.locator("#status li.up").count()) >= 4);
  await widths(desktop, "desktop");

  await desktop.fill("#question", "When does the hostile gate of Sudhafen open?");
  await desktop.click("#send");
  await desktop.locator("#text[aria-busy=false]").waitFor();
  check("markup of documents is text", (await desktop.locator("#contexts img, #contexts script, #text img").count()) === 0);
  seen.titles.push(await desktop.title());

  const phone = await open(browser, { viewport: { width: 390, height: 844 }, scheme: "dark", phone: true });
  await phone.locator("#documents li").first().waitFor();
  await ask(phone);
  await phone.screenshot({ path: path.join(screenshots, "phone.png"), fullPage: true });
  await openCitation(phone);
  await phone.screenshot({ path: path.join(screenshots, "phone-passage.png") });
  await phone.click("#passage-close");
  await widths(phone, "phone");

  await phone.locator("#documents li", { hasText: "hostile.txt" }).getByRole("button").click();
  await phone.locator("#documents li", { hasText: "hostile.txt" }).waitFor({ state: "detached", timeout: 30_000 });
  seen.titles.push(await phone.title());
  console.log(JSON.stringify(seen));
} finally {
  await browser.close();
}
