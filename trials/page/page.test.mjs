// The status page in a real browser, against the mock.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import AxeBuilder from '@axe-core/playwright';

import { launch, missing, open } from './browser.mjs';
import { Mock } from './mock.mjs';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];
const PHONE = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

let browser;
before(async () => {
  if (!missing) browser = await launch();
});
after(() => browser?.close());

/** Tests something with a mock and a page that shows it. */
function trial(name, { look, page: wanted, ...options }, body) {
  test(name, { skip: missing, timeout: 120_000 }, async () => {
    const mock = await Mock.start(options);
    const { page, context, problems } = await open(browser, mock.url, look);
    try {
      if (!options.token) await live(page);
      await body({ page, context, mock, problems });
      assert.deepEqual(problems, [], 'the browser has nothing to complain of');
    } finally {
      await context.close();
      await mock.close();
    }
  });
}

const live = (page) => page.waitForSelector('[data-link="live"]');
const lost = (page) => page.waitForSelector('[data-link="lost"]');
const row = (page, name) => page.locator('tbody.peer', { has: page.getByRole('button', { name, exact: true }) });
const textOf = (page, selector) => page.locator(selector).innerText();

/** Waits until something is so. */
async function until(isSo, complaint) {
  for (const end = Date.now() + 30_000; !(await isSo()); await new Promise((later) => setTimeout(later, 250)))
    if (Date.now() > end) assert.fail(await complaint());
}

async function assertAccessible(page, what) {
  const { violations } = await new AxeBuilder({ page })
    .withTags(RULES)
    .exclude('tbody.peer:nth-of-type(n+25)')
    .analyze();
  const found = violations.flatMap(({ id, nodes }) =>
    nodes.map(({ target, failureSummary }) => `${id} ${target} ${failureSummary}`),
  );
  assert.deepEqual(found, [], what);
}

for (const colorScheme of ['light', 'dark']) {
  for (const scene of ['connected', 'degraded', 'replicas', 'twenty', 'many', 'empty', 'hostile']) {
    trial(
      `axe finds nothing in the scene "${scene}" in ${colorScheme} colours`,
      { scene, look: { colorScheme } },
      async ({ page }) => {
        const first = page.locator('button.name').first();
        if (await first.count()) await first.click();
        await assertAccessible(page, scene);
      },
    );
  }

  trial(
    `axe finds nothing while the service is away, in ${colorScheme} colours`,
    { scene: 'degraded', look: { colorScheme } },
    async ({ page, mock }) => {
      await page.getByRole('button', { name: 'warehouse' }).click();
      mock.drop();
      await lost(page);
      await assertAccessible(page, 'lost');
    },
  );

  trial(
    `axe finds nothing on a phone, nor in the form for the token, in ${colorScheme} colours`,
    { scene: 'degraded', token: 'word', look: { ...PHONE, colorScheme } },
    async ({ page }) => {
      await page.waitForSelector('#token-form:not([hidden])');
      await assertAccessible(page, 'the form');
      await page.getByLabel('Token').fill('word');
      await page.keyboard.press('Enter');
      await live(page);
      await page.getByRole('button', { name: 'warehouse' }).click();
      await assertAccessible(page, 'the page');
    },
  );
}

trial('what a person looks for is on the page', { scene: 'degraded' }, async ({ page }) => {
  await page.waitForTimeout(3000);
  assert.match(await textOf(page, 'header'), /hub\s+not ready[^]*up\s+3 d 7 h[^]*0\.0\.0\.0:6501[^]*a commit takes 2\.1 ms/);
  assert.match(await textOf(page, '#unready'), /required peer “warehouse” has been away for more than 60 s/);
  const warehouse = await row(page, 'warehouse').innerText();
  assert.match(warehouse, /required[^]*away 4 min[^]*gen\. 6 · 2 d 9 h[^]*sealed · paddington\/0\.4\.0/);
  assert.match(warehouse, /could not be reached: connection refused[^]*Check that the server runs/);
  const billing = await row(page, 'billing').innerText();
  assert.match(billing, /connected 2 d[^]*ms/);
  // A second of a busy machine is longer or shorter than one of the mock.
  const rate = row(page, 'billing').locator('.c-out');
  await until(
    async () => {
      const shown = Number(await rate.innerText());
      return shown > 60 && shown < 120;
    },
    () => rate.innerText().then((shown) => `${shown} is about 85 messages a second`),
  );
  await page.getByRole('button', { name: 'warehouse' }).click();
  assert.match(await row(page, 'warehouse').innerText(), /this side dials[^]*on disk/);
  assert.match(await textOf(page, '#events'), /the message 20417 of ledger has become a dead letter/);
  assert.match(
    await textOf(page, '#refusals'),
    /203\.0\.113\.90 at hello, 37 times[^]*To do: give the client its latest invitation/,
  );
  assert.match(await textOf(page, '#orphans'), /old-shop 212 messages/);
  assert.match(await page.locator('#graph svg').getAttribute('aria-label'), /4 peers: 3 connected, 1 away: warehouse/);
  assert.match(
    await page.locator('#charts svg').first().getAttribute('aria-label'),
    /Messages in the last ten minutes: now .* out/,
  );
});

trial(
  'of replicas, the one that owns a link is told',
  { scene: 'connected', ticking: false },
  async ({ page, mock }) => {
    const told = { ...mock.world.peers.get('billing').told, state: 'away', owned: false };
    const owners = [
      ['replica 5 owns it', { replica: 5 }],
      ['no replica owns it', { replica: null }],
      ['not here', undefined],
    ];
    for (const [words, owner] of owners) {
      mock.tell('peers', { peers: [{ ...told, owner }], removed: [] });
      await row(page, 'billing').locator('.c-state').getByText(words, { exact: true }).waitFor();
    }
  },
);

trial(
  'a peer whose link another replica owns is not away: it is there',
  { scene: 'replicas', ticking: false },
  async ({ page, mock }) => {
    const names = () => page.locator('tbody.peer bdi').allInnerTexts();
    const drawn = () => page.locator('#graph svg').getAttribute('aria-label');
    const choose = (words) => page.getByText(words, { exact: true }).click();
    assert.equal(await textOf(page, '#graph-count'), '1 of 4 peers connected, 1 at another replica');
    assert.match(await drawn(), /4 peers: 1 connected, 1 at another replica, 2 away: ledger, till$/);
    assert.match(await textOf(page, '#graph-legend'), /● connected\s*○ at another replica\s*◇ away/);
    assert.equal(await page.locator('#graph [data-state="elsewhere"]').count(), 1);
    assert.equal(await page.title(), '2 away: hub');
    assert.deepEqual(await names(), ['ledger', 'till', 'billing', 'warehouse'], 'those that are away come first');
    const warehouse = row(page, 'warehouse');
    assert.equal(await warehouse.getAttribute('data-state'), 'elsewhere');
    assert.match(await warehouse.innerText(), /replica 5 owns it/);
    assert.equal(await warehouse.locator('.problem').isVisible(), false, 'what was wrong here is over');
    assert.equal(await row(page, 'till').locator('.problem').isVisible(), true, 'nobody has it');
    const marks = { billing: 'up', warehouse: 'there', ledger: 'down' };
    for (const [name, shape] of Object.entries(marks)) {
      const shapes = row(page, name).locator('.mark :is(.up, .there, .down)');
      const shown = await shapes.evaluateAll((all) =>
        all.filter((it) => getComputedStyle(it).display !== 'none').map((it) => it.getAttribute('class')),
      );
      assert.deepEqual(shown, [shape], name);
    }
    await choose('Away 2');
    assert.deepEqual(await names(), ['ledger', 'till']);
    await choose('At another replica 1');
    assert.deepEqual(await names(), ['warehouse']);

    // Its replica ends.
    mock.world.own('warehouse', null);
    mock.tell('peers', mock.world.update());
    await page.getByText('Away 3', { exact: true }).waitFor();
    await page.waitForFunction(() => document.getElementById('announcer').textContent === 'warehouse is away.');
    mock.world.own('warehouse', 7);
    mock.tell('peers', mock.world.update());
    await page.waitForFunction(
      () => document.getElementById('announcer').textContent === 'warehouse is at another replica.',
    );
    assert.match(await drawn(), /4 peers: 1 connected, 1 at another replica, 2 away: ledger, till$/);
  },
);

trial(
  'what the store does not say of links that are gone is unknown, and not nothing',
  { scene: 'degraded', ticking: false },
  async ({ page, mock }) => {
    const tell = (orphans) => mock.tell('peers', { peers: [], removed: [], ...orphans });
    const unknown = page.locator('#orphans').getByText('Unknown: the store has not answered.', { exact: true });
    await page.locator('#orphans').getByText('old-shop').waitFor();
    tell({ orphans: null });
    await unknown.waitFor();
    assert.equal(await page.locator('#orphans li').count(), 1);
    tell({});
    mock.world.event('up', 'billing', 'billing is there: a test');
    await page.locator('#events').getByText('is there: a test').waitFor();
    assert.equal(await unknown.isVisible(), true, 'nothing was said of them');
    tell({ orphans: [] });
    await page.locator('#orphans-section').waitFor({ state: 'hidden' });
    mock.world.orphans = null;
    await page.reload();
    await live(page);
    await unknown.waitFor();
  },
);

trial('a service that is no replica does not speak of others', { scene: 'connected' }, async ({ page }) => {
  assert.equal(await page.getByText('At another replica').count(), 1, 'the choice');
  assert.equal(await page.getByText('At another replica').isVisible(), false);
  assert.doesNotMatch(await textOf(page, 'body'), /another replica/);
});

trial(
  'the keyboard alone reaches and does everything',
  { scene: 'connected', changes: true },
  async ({ page, mock }) => {
    const press = async (...keys) => {
      for (const key of keys) await page.keyboard.press(key);
    };
    const focused = () =>
      page.evaluate(
        () => document.activeElement.textContent.trim() || document.activeElement.id || document.activeElement.name,
      );
    await press('Tab');
    assert.equal(await focused(), 'Skip to the peers');
    await press('Enter', 'Tab');
    assert.equal(await focused(), 'state', 'the choice of peers is the first thing behind the link');
    await press('ArrowRight', 'ArrowRight');
    assert.equal(await textOf(page, '#none'), 'No peer fits.', 'nobody is away');
    await press('ArrowLeft', 'ArrowLeft', 'Tab');
    assert.equal(await focused(), 'filter');
    await page.keyboard.type('print');
    await page.waitForFunction(() => document.querySelectorAll('tbody.peer').length === 1);
    await press('ControlOrMeta+a', 'Delete', 'Tab', 'Enter');
    assert.equal(
      await page
        .locator('th[aria-sort]')
        .innerText()
        .then((text) => text.trim()),
      'Peer',
    );
    for (let column = 0; column < 9; column += 1) await press('Tab');
    assert.equal(await focused(), 'billing');
    await press('Enter', 'Tab');
    assert.equal(await page.getByRole('button', { name: 'billing' }).getAttribute('aria-expanded'), 'true');
    assert.equal(await focused(), 'Ping');
    await press('Enter');
    await page.getByText('Round trip: 2.1 ms').waitFor();
    await press('Tab', 'Enter');
    assert.match(await textOf(page, 'dialog'), /Disconnect billing\?/);
    await press('Escape');
    assert.deepEqual(mock.requests, [{ peer: 'billing', what: 'ping' }], 'who escapes changes nothing');
    await press('Enter', 'Tab', 'Enter');
    await row(page, 'billing').getByText('away', { exact: true }).waitFor();
    assert.deepEqual(mock.requests.at(-1), { peer: 'billing', what: 'disconnect' });
    assert.equal(await focused(), 'Disconnect …', 'the focus is where it was');
  },
);

trial('hostile texts stay texts', { scene: 'hostile' }, async ({ page }) => {
  for (const button of await page.locator('button.name').all()) await button.click();
  await page.waitForTimeout(2500);
  assert.equal(await page.evaluate(() => window.hit), undefined);
  assert.equal(await page.locator('img, iframe, a:not(.skip), script:not([src="script.js"])').count(), 0);
  assert.equal(await page.locator('[onerror], [onload], [style]').count(), 0);
  const text = await textOf(page, 'body');
  assert.ok(text.includes('<img src=x onerror="window.hit=1"><script>window.hit=2</script>'));
  assert.ok(text.includes('\\u{202e}gnp.exe\\u{202c}A'), 'what turns a text around is visible');
  assert.ok(text.includes('\\u{a}\\u{a}forged line'), 'a text stays in its line');
  assert.ok(!/A{600}/.test(text), 'a long text is cut');
  assert.ok(!/NaN|undefined|null|Infinity/.test(text), 'numbers that are none are shown as a dash');
  assert.equal(await page.locator('tbody.peer').count(), 4);
});

trial(
  'a stream that is lost is told, its values are marked, and the page recovers',
  { scene: 'connected' },
  async ({ page, mock }) => {
    // There is a line before the loss, and not only a point.
    await page.waitForFunction(() => /M.*L/.test(document.querySelector('#charts path.first')?.getAttribute('d')));
    const before = await row(page, 'billing')
      .locator('.c-trip')
      .evaluate((cell) => getComputedStyle(cell).fontStyle);
    mock.drop();
    await lost(page);
    assert.match(await textOf(page, '#lost'), /Not connected to the service since \d\d:\d\d:\d\d\./);
    assert.match(await textOf(page, '#lost'), /All values are from then\./);
    assert.equal(await textOf(page, '#link-state'), 'not connected');
    assert.match(await page.title(), /^not connected: hub/);
    assert.match(await page.locator('#announcer').textContent(), /not connected to the service any more/);
    const style = await row(page, 'billing')
      .locator('.c-trip')
      .evaluate((cell) => getComputedStyle(cell).fontStyle);
    assert.notEqual(style, before, 'a stale value looks like one');
    const since = await textOf(page, '#lost-since');
    const age = await textOf(page, '#facts');
    await page.waitForTimeout(3000);
    assert.equal(await textOf(page, '#lost-since'), since);
    assert.equal(await textOf(page, '#facts'), age);
    mock.world.leave('billing', { text: 'the connection was lost' });
    mock.refusing = false;
    await page
      .getByRole('button', { name: 'Try now' })
      .click({ timeout: 1000 })
      .catch(() => {});
    await live(page);
    await row(page, 'billing').getByText('The connection was lost.').waitFor();
    assert.equal(await page.locator('#lost').isVisible(), false);
    await page.waitForFunction(
      () => /M.*L.*M/.test(document.querySelector('#charts path.first').getAttribute('d')),
      null,
      { timeout: 20_000 },
    );
  },
);

trial(
  'a service that is away from the beginning is told, and found when it comes',
  { scene: 'connected', token: 'never' },
  async ({ page, mock }) => {
    await page.waitForSelector('#token-form:not([hidden])');
    mock.token = null;
    mock.refusing = true;
    await page.getByLabel('Token').fill('x');
    await page.keyboard.press('Enter');
    await page.getByText('Not connected to the service since').waitFor();
    assert.match(await textOf(page, '#lost'), /It does not answer\./);
    mock.refusing = false;
    await live(page);
  },
);

trial(
  'a stream that is silent counts as lost',
  { scene: 'connected', ticking: false, look: { clock: true } },
  async ({ page, mock }) => {
    await page.clock.fastForward(15_000);
    mock.tell('peers', { peers: [] });
    await page.waitForFunction(() => document.querySelector('[data-link="live"]'));
    await page.clock.fastForward(15_000);
    assert.equal(await textOf(page, '#link-state'), 'live', 'it was heard 15 s ago');
    await page.clock.fastForward(6000);
    await lost(page);
    assert.match(await textOf(page, '#lost'), /Nothing arrives from it\./);
  },
);

trial('an event that is told twice is shown once', { scene: 'connected' }, async ({ page, mock }) => {
  mock.tell('event', mock.world.events[0]);
  mock.world.event('down', 'billing', 'the connection to billing has ended: a test');
  await page.locator('#events').getByText('has ended: a test').waitFor();
  assert.equal(await page.locator('#events').getByText('billing is connected').count(), 1);
  assert.equal(await page.locator('#events li').first().locator('b').innerText(), 'billing', 'its peer stands out');
});

trial('what is no event is told, and the page tries again', { scene: 'connected' }, async ({ page, mock }) => {
  for (const stream of mock.streams) stream.write('event: peers\ndata: {"peers": [\n\n');
  await page.getByText('It sends something that is no JSON.').waitFor();
  await live(page);
});

trial('counters that begin anew make no negative rate', { scene: 'connected' }, async ({ page, mock }) => {
  const cell = row(page, 'billing').locator('.c-out');
  await page.waitForFunction(() => Number(document.querySelector('.c-out:not(th)').textContent) > 0);
  Object.assign(mock.world.peers.get('billing').told.sent, { accepted: 0, handled: 0 });
  for (let times = 0; times < 15; times += 1) {
    assert.match(await cell.innerText(), /^(–|[\d.]+)$/);
    await page.waitForTimeout(200);
  }
});

trial(
  'of a thousand peers, the first are shown, and more at the press of a button',
  { scene: 'thousand' },
  async ({ page }) => {
    assert.equal(await page.locator('tbody.peer').count(), 200);
    await page.getByRole('button', { name: 'Show 200 more of 1,000' }).click();
    assert.equal(await page.locator('tbody.peer').count(), 400);
    await page.locator('#filter').fill('malmo-99');
    assert.equal(await page.locator('tbody.peer').count(), 1, 'the filter finds all of them');
  },
);

trial(
  'the token is asked for once, and kept in memory only',
  { scene: 'connected', token: 'the right word' },
  async ({ page, mock, context }) => {
    await page.getByLabel('Token').fill('a wrong word');
    await page.getByRole('button', { name: 'Show the status' }).click();
    await page.getByText('The service does not accept this token.').waitFor();
    await page.getByLabel('Token').fill('the right word');
    await page.keyboard.press('Enter');
    await live(page);
    mock.drop(false);
    await lost(page);
    await live(page);
    const kept = await page.evaluate(() =>
      JSON.stringify([
        { ...localStorage },
        { ...sessionStorage },
        document.cookie,
        location.href,
        document.documentElement.outerHTML,
      ]),
    );
    assert.ok(!kept.includes('the right word'));
    assert.equal((await context.cookies()).length, 0);
    await page.reload();
    await page.waitForSelector('#token-form:not([hidden])');
  },
);

trial('no request leaves the origin', { scene: 'hostile', changes: true }, async ({ page, mock, context }) => {
  const requests = [];
  context.on('request', (request) => requests.push(request.url()));
  await page.reload();
  await live(page);
  for (const button of await page.locator('button.name').all()) await button.click();
  await row(page, 'constructor').getByRole('button', { name: 'Ping' }).click();
  await page.waitForTimeout(2000);
  assert.ok(requests.length > 4);
  assert.deepEqual(
    requests.filter((url) => !url.startsWith(mock.url)),
    [],
  );
});

trial(
  'peers can be changed only where that is switched on',
  { scene: 'connected', changes: false },
  async ({ page }) => {
    await page.getByRole('button', { name: 'billing' }).click();
    await row(page, 'billing').getByText('it dials', { exact: false }).last().waitFor();
    assert.equal(await page.getByRole('button', { name: 'Ping' }).count(), 0);
    assert.equal(await page.getByRole('button', { name: /Disconnect/ }).count(), 0);
  },
);

trial('peers are added, removed, filtered and sorted', { scene: 'many' }, async ({ page, mock }) => {
  const names = () => page.locator('tbody.peer bdi').allInnerTexts();
  assert.equal((await names()).length, 200);
  assert.match(await textOf(page, '#graph-count'), /194 of 200 peers connected/);
  assert.equal(
    await row(page, 'shop-bilbao-16').locator('xpath=preceding-sibling::tbody').count(),
    0,
    'those that are away come first',
  );
  mock.world.peer('zebra', { software: 'stripes/1' });
  mock.world.remove('shop-bergen-01');
  await page.getByText('zebra').first().waitFor({ state: 'attached' });
  await page.getByText('All 200').waitFor();
  assert.ok(!(await names()).includes('shop-bergen-01'));
  await page.locator('#filter').fill('STRIPES');
  assert.deepEqual(await names(), ['zebra']);
  await page.locator('#filter').fill('');
  await page.getByText('Away 6').click();
  assert.equal((await names()).length, 6);
  await page.getByText('All 200').click();
  await page.getByRole('button', { name: 'Waiting' }).click();
  const queues = await page.locator('.values .c-queue').allInnerTexts();
  const numbers = queues.map((text) => Number(text.replaceAll(',', '')));
  assert.deepEqual(
    numbers,
    numbers.toSorted((a, b) => b - a),
  );
});

trial(
  'rows keep their places under the pointer, and the focus stays in a row that moves',
  { scene: 'twenty' },
  async ({ page, mock }) => {
    const names = () => page.locator('tbody.peer bdi').allInnerTexts();
    const before = await names();
    await page.getByRole('button', { name: 'shop-turku-02' }).focus();
    mock.world.leave('shop-turku-02', { text: 'the connection was lost' });
    await row(page, 'shop-turku-02').getByText('The connection was lost.').waitFor();
    assert.deepEqual(await names(), before);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'shop-turku-02');
    await page.locator('#filter').focus();
    await page.waitForFunction(() => document.querySelectorAll('tbody.peer bdi')[1].textContent === 'shop-turku-02');
  },
);

trial('a screen reader is not told of every peer that flaps', { scene: 'many' }, async ({ page, mock }) => {
  await page.evaluate(() => {
    window.told = [];
    const announcer = document.getElementById('announcer');
    new MutationObserver(() => window.told.push(announcer.textContent)).observe(announcer, {
      childList: true,
      characterData: true,
      subtree: true,
    });
  });
  const names = [...mock.world.peers.keys()].slice(20, 120);
  const flapping = setInterval(() => {
    for (const name of names) {
      if (mock.world.random() > 0.5) mock.world.leave(name, { text: 'the connection was lost' });
      else mock.world.come(name);
    }
  }, 500);
  await page.waitForTimeout(11_500);
  clearInterval(flapping);
  const told = await page.evaluate(() => window.told);
  assert.ok(told.length >= 1 && told.length <= 3, told.join('\n'));
  assert.match(told[0], /^\d+ peers changed: \d+ connected, \d+ away\.$/);
  assert.equal(await page.locator('[aria-live], [role="alert"], [role="log"], [role="timer"]').count(), 0);
});

trial(
  'a phone of 360 px shows everything without scrolling sideways',
  { scene: 'hostile', look: PHONE },
  async ({ page }) => {
    await page.locator('button.name').first().click();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 360, `${width} px`);
    for (const button of await page.locator('button:visible, input[type="search"]').all()) {
      const box = await button.boundingBox();
      if (box) assert.ok(box.height >= 24, `${await button.innerText()} is high enough for a finger`);
    }
  },
);

trial(
  'nothing moves by itself for whoever wants less motion',
  { scene: 'connected', look: { reducedMotion: 'reduce' } },
  async ({ page }) => {
    await page.evaluate(() => (document.body.dataset.link = 'connecting'));
    assert.equal(await page.evaluate(() => document.getAnimations().length), 0);
  },
);

trial('the colours can be chosen', { scene: 'connected', look: { colorScheme: 'light' } }, async ({ page }) => {
  const paper = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  const light = await paper();
  const button = page.getByRole('button', { name: /^Colours/ });
  await button.click();
  await button.click();
  assert.equal(await button.innerText(), 'Colours: dark');
  assert.notEqual(await paper(), light);
  await page.reload();
  await live(page);
  assert.notEqual(await paper(), light, 'the choice is kept');
});

trial('the graph is readable with any number of peers', { scene: 'twenty' }, async ({ page, mock }) => {
  const overlapping = () =>
    page.evaluate(() => {
      const boxes = [...document.querySelectorAll('#graph g[data-peer] text')].map((text) =>
        text.getBoundingClientRect(),
      );
      const box = document.getElementById('graph').getBoundingClientRect();
      const outside = boxes.filter(
        (a) => a.left < box.left - 1 || a.right > box.right + 1 || a.top < box.top - 1 || a.bottom > box.bottom + 1,
      );
      const both = boxes.filter((a, i) =>
        boxes.some(
          (b, j) =>
            j > i && a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3,
        ),
      );
      return { labels: boxes.length, outside: outside.length, both: both.length };
    });
  assert.deepEqual(await overlapping(), { labels: 20, outside: 0, both: 0 });
  const names = [...mock.world.peers.keys()];
  for (const left of [14, 7, 3, 1]) {
    while (mock.world.peers.size > left) mock.world.remove(names.pop());
    await page.getByText(`All ${left}`, { exact: true }).waitFor();
    await page.waitForTimeout(100);
    const { outside, both } = await overlapping();
    assert.deepEqual({ outside, both }, { outside: 0, both: 0 }, `${left} peers`);
  }
});

trial(
  'with 200 peers that all change every second, the scripts take less than a hundredth of a core',
  { scene: 'many' },
  async ({ page, context }) => {
    const session = await context.newCDPSession(page);
    await session.send('Performance.enable', { timeDomain: 'threadTicks' });
    const read = async () =>
      Object.fromEntries(
        (await session.send('Performance.getMetrics')).metrics.map(({ name, value }) => [name, value]),
      );
    await page.waitForTimeout(3000);
    const [from, begun] = [await read(), performance.now()];
    await page.waitForTimeout(20_000);
    const [to, seconds] = [await read(), (performance.now() - begun) / 1000];
    const each = (name) => ((to[name] - from[name]) / seconds) * 1000;
    const figures = ['ScriptDuration', 'RecalcStyleDuration', 'LayoutDuration', 'TaskDuration'].map(
      (name) => `${name} ${each(name).toFixed(1)} ms/s`,
    );
    console.log(`200 peers: ${figures.join(', ')}; heap ${Math.round(to.JSHeapUsedSize / 2 ** 20)} MiB`);
    assert.ok(each('ScriptDuration') < 10, 'less than 10 ms of each second');
  },
);
