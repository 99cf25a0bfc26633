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

/** Returns a page. With `now`, its clock stands still there until `setTime`. */
export async function open(browser, url, { now, ...options } = {}) {
  const context = await browser.newContext({
    viewport: { width: 1360, height: 900 },
    locale: 'en-GB',
    timezoneId: 'Europe/Berlin',
    ...options,
  });
  const page = await context.newPage();
  if (now) await page.addInitScript(setTime, now);
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
