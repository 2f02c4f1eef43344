// Drives one headless Chromium for the tests: a JSON command per line in, a JSON answer per line out.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const [, , chromiumPath, webFolder] = process.argv;
const { chromium } = createRequire(`${webFolder}/package.json`)("playwright-core");
const flags = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist", "--disable-dev-shm-usage"];
const browser = await chromium.launch({ executablePath: chromiumPath, headless: true, args: flags });
const contexts = {};
let page = null;
let devtools = null;
let troubles = [];
let requests = [];

// while the scene plays the interface hides until the pointer moves
async function wake() {
  await page.mouse.move(3, 90);
  await page.mouse.move(4, 91);
}

const actions = {
  async open({ url, width, height, touch, before, online }) {
    await page?.close();
    const kind = touch ? "phone" : online ? "online" : "desktop";
    contexts[kind] ??= await browser.newContext({ hasTouch: Boolean(touch), isMobile: Boolean(touch), offline: !online, acceptDownloads: true });
    const context = contexts[kind];
    page = await context.newPage();
    await page.setViewportSize({ width, height });
    devtools = await context.newCDPSession(page); // its evaluation is not subject to the page's policy
    [troubles, requests] = [[], []];
    page.on("console", (message) => ["error", "warning"].includes(message.type()) && troubles.push(message.text()));
    page.on("pageerror", (error) => troubles.push(String(error)));
    page.on("request", (request) => requests.push(request.url()));
    if (before) await page.addInitScript(before);
    await page.goto(url, { waitUntil: "load" });
  },
  async ready() {
    const done = () => Boolean(window.viewer?.settled) && document.getElementById("loading").hidden;
    await page.waitForFunction(done, null, { timeout: 60000 });
  },
  async evaluate({ code }) {
    const { result, exceptionDetails } = await devtools.send("Runtime.evaluate", { expression: code, awaitPromise: true, returnByValue: true });
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value;
  },
  screenshot: async ({ path }) => void (await page.screenshot({ path })),
  drag: async ({ from, to, button }) => {
    await page.mouse.move(...from);
    await page.mouse.down({ button });
    await page.mouse.move(...to, { steps: 4 });
    await page.mouse.up({ button });
  },
  wheel: async ({ at, delta }) => {
    await page.mouse.move(...at);
    await page.mouse.wheel(0, delta);
  },
  // fingers: their ways, each a list of [x, y]
  touch: async ({ fingers }) => {
    const send = (type, points) => devtools.send("Input.dispatchTouchEvent", { type, touchPoints: points });
    const at = (step) => fingers.map((way, id) => ({ x: way[step][0], y: way[step][1], id }));
    await send("touchStart", at(0));
    for (let step = 1; step < fingers[0].length; step++) await send("touchMove", at(step));
    await send("touchEnd", []);
  },
  async click({ selector }) {
    await wake();
    await page.click(selector, { timeout: 20000 });
  },
  press: ({ key }) => page.keyboard.press(key),
  download: async ({ selector, path }) => {
    await wake();
    const [download] = await Promise.all([page.waitForEvent("download"), page.click(selector)]);
    await download.saveAs(path);
    return download.suggestedFilename();
  },
  troubles: () => troubles,
  requests: () => requests,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { action, ...options } = JSON.parse(line);
  if (action === "close") break;
  try {
    console.log(JSON.stringify({ value: (await actions[action](options)) ?? null }));
  } catch (error) {
    console.log(JSON.stringify({ error: String(error) }));
  }
}
await browser.close();
