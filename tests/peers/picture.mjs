// README's picture of a report: the top of the page, light, on an ordinary screen.
//
//   node picture.mjs FOLDER-WITH-NODE_MODULES BROWSER REPORT.html PICTURE.png

import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [tools, executablePath, report, picture] = process.argv.slice(2);
const puppeteer = createRequire(path.join(path.resolve(tools), "package.json"))("puppeteer-core");

const SIZE = { width: 1280, height: 1500 };

const browser = await puppeteer.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
const page = await browser.newPage();
await page.setViewport(SIZE);
await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "light" }]);
await page.goto(pathToFileURL(path.resolve(report)).href, { waitUntil: "load" });
await page.screenshot({ path: picture });
await browser.close();
