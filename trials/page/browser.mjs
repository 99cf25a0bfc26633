// A Chromium for the tests and the screenshots.

import { existsSync } from 'node:fs';
import { chromium } from 'playwright-core';

const PATHS = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const path = PATHS.find((candidate) => candidate && existsSync(candidate));

/** Why there is no browser, or false. */
export const missing = path
  ? false
  : 'there is no Chromium (Debian: chromium; or set CHROMIUM): the page is not tested';

export function launch() {
  return chromium.launch({ executablePath: path, args: ['--no-sandbox', '--font-render-hinting=none', '--lang=en'] });
}

/** Returns a page. With `now`, its clock stands still there until `pass`; with `clock`, it can be put forward. */
export async function open(browser, url, { now, clock = false, ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    ...options,
  });
  const page = await context.newPage();
  if (clock) await page.clock.install();
  if (now) {
    await page.addInitScript(setTime, now);
    await page.addInitScript(countUpdates);
  }
  const problems = [];
  page.on('pageerror', (error) => problems.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource/.test(message.text())) problems.push(message.text());
  });
  await page.goto(url);
  return { page, context, problems };
}

/** Runs in the page. */
export function setTime(now) {
  Date.now = () => now;
}

/** Runs in the page, before its scripts: counts the updates that it has taken. */
function countUpdates() {
  const { parse } = JSON;
  window.updates = 0;
  JSON.parse = (text) => {
    const value = parse(text);
    if (value.removed) window.updates += 1;
    return value;
  };
}

/** Lets a second pass in the mock and in the page whose clock stands still. */
export async function pass(page, mock, now) {
  await page.evaluate(setTime, now);
  const before = await page.evaluate(() => window.updates);
  mock.tick();
  await page.evaluate(async (count) => {
    while (window.updates === count) await new Promise((later) => setTimeout(later, 1));
  }, before);
}
