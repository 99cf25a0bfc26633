// The status page of a real service, whose link to a peer is lost and mended. `real` starts the
// services and sets these variables:
//
// PADDINGTON_URL       where the service serves its page
// PADDINGTON_TOKEN     its token
// PADDINGTON_PEER      the peer, which is connected
// PADDINGTON_CUT_FILE  a file; while it exists, the line to the peer is cut

import assert from 'node:assert/strict';
import { rm, writeFile } from 'node:fs/promises';
import { test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';

import { launch, missing, open } from './browser.mjs';
import { METRICS, OF_A_REPLICA } from './metrics.mjs';

const {
  PADDINGTON_URL: url,
  PADDINGTON_TOKEN: token,
  PADDINGTON_PEER: name,
  PADDINGTON_CUT_FILE: cutFile,
} = process.env;
const skip = missing || (!url && 'PADDINGTON_URL is not set; trials/page/real starts two services and sets it');

test('the page of a real service shows a link that is lost and mended', { skip, timeout: 300_000 }, async (context) => {
  const browser = await launch();
  context.after(() => browser.close());
  context.after(() => rm(cutFile, { force: true }));
  const { page, context: window, problems } = await open(browser, url);
  const strangers = [];
  window.on('request', (request) => request.url().startsWith(new URL('/', url).href) || strangers.push(request.url()));

  await page.getByLabel('Token').fill(token);
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-link="live"]');
  const row = page.locator('tbody.peer', { has: page.getByRole('button', { name, exact: true }) });
  const becomes = (state) => row.and(page.locator(`[data-state="${state}"]`)).waitFor({ timeout: 120_000 });

  await becomes('connected');
  assert.match(await row.innerText(), /sealed · paddington/);
  await writeFile(cutFile, '');
  await becomes('away');
  await row
    .locator('.problem .text')
    .filter({ hasText: /\w+ \w+/ })
    .waitFor({ timeout: 60_000 });
  context.diagnostic(`away: ${(await row.locator('.problem').innerText()).trim()}`);
  await page.locator('#events li').filter({ hasText: name }).first().waitFor();
  const { violations } = await new AxeBuilder({ page }).analyze();
  assert.deepEqual(
    violations.map(({ id }) => id),
    [],
  );
  await rm(cutFile);
  await becomes('connected');
  assert.equal(await row.locator('.problem').isVisible(), false);

  assert.deepEqual(strangers, [], 'no request leaves the origin');
  assert.deepEqual(problems, [], 'the browser has nothing to complain of');
});

test('a real service has every metric of the dashboard', { skip: !url && skip }, async () => {
  const response = await fetch(new URL('metrics', url), { headers: { Authorization: `Bearer ${token}` } });
  const text = await response.text();
  assert.equal(response.status, 200, text);
  const names = [...text.matchAll(/^# TYPE (\w+) (\w+)/gm)].map(([, name, type]) =>
    type === 'counter' ? `${name.replace(/_total$/, '')}_total` : name,
  );
  assert.deepEqual(
    Object.keys(METRICS).filter((name) => !names.includes(name)),
    OF_A_REPLICA,
    'it is no replica',
  );
});
