// The HTML reports in a real browser: axe-core finds no violation, light or dark, wide or at a phone's width, folded or not;
// nothing is fetched, no script is in it, the file is small and soon there. Every box is measured: none is wider than its page,
// clipped or over another, on a screen and in print. A PNG of each page stands beside its report.
//
//   node accessibility.mjs FOLDER-WITH-NODE_MODULES BROWSER REPORT.html...

import { createRequire } from "node:module";
import { statSync } from "node:fs";
import path from "node:path";
import { pathToFileURL } from "node:url";

const [tools, browserPath, ...reports] = process.argv.slice(2);
const require = createRequire(path.join(path.resolve(tools), "package.json"));
const axe = require.resolve("axe-core/axe.min.js");
const puppeteer = require("puppeteer-core");

const LARGEST_BYTES = 1_000_000;
const LONGEST_LOAD_MS = 1_000;
const WIDTHS = [1280, 390, 360];
// A4, less margins of 10 mm, at 96 dots an inch.
const PAPER = 718;

let failures = 0;
function check(holds, what) {
  if (!holds) {
    failures += 1;
    console.log(`  FAILED: ${what}`);
  }
}

async function violations(page) {
  await page.addScriptTag({ path: axe });
  const found = await page.evaluate(async () => {
    const results = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return {
      passes: results.passes.length,
      violations: results.violations.map((it) => {
        const nodes = it.nodes.slice(0, 3).map((node) => `${node.html.slice(0, 120)} ${node.failureSummary}`);
        return `${it.id} (${it.nodes.length}): ${it.help}\n    ${nodes.join("\n    ")}`;
      }),
    };
  });
  check(found.passes > 10, `axe found only ${found.passes} rules that pass, so it looked at nothing`);
  return found.violations;
}

// What is wrong with the boxes of the page: what is beyond its edge, cut off, or over its neighbour.
function boxes(width, scrolls) {
  const wrong = [];
  const named = (element) => `${element.tagName.toLowerCase()}.${element.className} ${element.textContent.trim().slice(0, 40)}`;
  const isShown = (element) => element.checkVisibility() && !element.closest(".vh, .skip, svg");
  for (const element of document.querySelectorAll("body *")) {
    if (!isShown(element)) continue;
    const box = element.getBoundingClientRect();
    const isScrolled = scrolls && element.closest(".scroll") !== null;
    if (!isScrolled && box.width > 0 && (box.right > width + 1 || box.left < -1)) {
      wrong.push(`beyond the edge by ${Math.round(box.right - width)} px: ${named(element)}`);
    }
    const style = getComputedStyle(element);
    if (style.overflowX === "hidden" && element.scrollWidth > element.clientWidth + 1) wrong.push(`cut off: ${named(element)}`);
  }
  for (const row of document.querySelectorAll("main, tr, .cards, .legend")) {
    const shown = [...row.children].filter(isShown).map((child) => [child, child.getBoundingClientRect()]);
    for (let at = 1; at < shown.length; at++) {
      const [[, before], [child, box]] = [shown[at - 1], shown[at]];
      const over = Math.min(before.right, box.right) - Math.max(before.left, box.left);
      const under = Math.min(before.bottom, box.bottom) - Math.max(before.top, box.top);
      const sticks = getComputedStyle(shown[at - 1][0]).position === "sticky";
      if (over > 1 && under > 1 && !sticks) wrong.push(`over its neighbour: ${named(child)}`);
    }
  }
  return wrong.slice(0, 5);
}

async function print(browser, report) {
  const page = await browser.newPage();
  await page.setViewport({ width: PAPER, height: 1000 });
  await page.emulateMediaType("print");
  await page.goto(pathToFileURL(path.resolve(report)).href, { waitUntil: "load" });
  for (const wrong of await page.evaluate(boxes, PAPER, false)) check(false, `in print, ${wrong}`);
  await page.screenshot({ path: `${report}-print.png`, fullPage: true });
  await page.close();
}

async function look(browser, report, scheme, width, open) {
  const page = await browser.newPage();
  const fetched = [];
  page.on("request", (request) => fetched.push(request.url()));
  await page.setViewport({ width, height: 900 });
  await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
  await page.goto(pathToFileURL(path.resolve(report)).href, { waitUntil: "load" });
  const seen = await page.evaluate(() => ({
    ms: performance.getEntriesByType("navigation")[0].loadEventEnd,
    scripts: document.scripts.length,
    width: document.documentElement.scrollWidth,
    rows: document.querySelectorAll("tr").length,
    background: getComputedStyle(document.body).backgroundColor,
    // Where the tasks are is to be seen at one look on an ordinary screen, however large the cluster is.
    hidden: Math.max(0, ...[...document.querySelectorAll("section[aria-labelledby=matrix] .screen .scroll")].map((it) => it.scrollWidth - it.clientWidth)),
  }));
  check(seen.scripts === 0, `${seen.scripts} scripts`);
  check(fetched.length === 1, `fetched ${fetched.slice(1)}`);
  check(seen.width <= width, `is ${seen.width} px wide on a screen of ${width}`);
  check(width < WIDTHS[0] || seen.hidden <= 1, `the heat map is ${seen.hidden} px wider than its page`);
  check(seen.ms < LONGEST_LOAD_MS, `took ${seen.ms} ms to load`);
  check((scheme === "dark") === (seen.background !== "rgb(255, 255, 255)"), `${scheme} has the background ${seen.background}`);
  for (const wrong of await page.evaluate(boxes, width, true)) check(false, wrong);
  await page.screenshot({ path: `${report}-${scheme}-${width}.png`, fullPage: true });
  if (open) {
    await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
  }
  for (const violation of await violations(page)) check(false, violation);
  await page.close();
  return seen;
}

const browser = await puppeteer.launch({
  executablePath: browserPath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});
for (const report of reports) {
  const bytes = statSync(report).size;
  console.log(`${path.basename(report)}: ${bytes} bytes`);
  check(bytes < LARGEST_BYTES, `${bytes} bytes, where ${LARGEST_BYTES} are allowed`);
  await print(browser, report);
  for (const scheme of ["light", "dark"]) {
    for (const width of WIDTHS) {
      const { ms, rows } = await look(browser, report, scheme, width, width === WIDTHS[0]);
      console.log(`  ${scheme}, ${width} px: loaded in ${Math.round(ms)} ms, ${rows} rows`);
    }
  }
}
await browser.close();
console.log(failures === 0 ? `${reports.length} reports: no violation` : `${failures} failures`);
process.exit(failures === 0 && reports.length > 0 ? 0 : 1);
