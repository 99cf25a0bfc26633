// The dashboard for Grafana.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { METRICS, OF_A_REPLICA } from './metrics.mjs';

const dashboard = JSON.parse(await readFile(new URL('../../docs/grafana/paddington.json', import.meta.url)));
const panels = dashboard.panels.filter(({ type }) => type !== 'row');
const queries = panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));

test('the dashboard shows every metric, and no other', () => {
  const shown = new Set(queries.flatMap((query) => query.match(/paddington_\w+/g)));
  assert.deepEqual([...shown].sort(), Object.keys(METRICS).sort());
});

test('what a replica tells has panels in a row of their own', () => {
  const row = dashboard.panels.findIndex(({ type, title }) => type === 'row' && title === 'Replicas');
  const next = dashboard.panels.findIndex(({ type }, index) => type === 'row' && index > row);
  const panels = dashboard.panels.slice(row + 1, next < 0 ? undefined : next);
  const shown = panels.flatMap(({ targets }) => targets.flatMap(({ expr }) => expr.match(/paddington_\w+/g)));
  assert.deepEqual(shown.sort(), [...OF_A_REPLICA].sort());
});

test('its queries choose by labels that their metrics have', () => {
  for (const query of queries) {
    for (const [, name, labels] of query.matchAll(/(paddington_\w+)\{([^}]*)\}/g)) {
      const used = [...labels.matchAll(/(\w+)=~/g)].map(([, label]) => label);
      assert.deepEqual(
        used.filter((label) => !['job', 'instance', ...METRICS[name]].includes(label)),
        [],
        query,
      );
    }
    assert.equal(/_total/.test(query), /(rate|increase)\(/.test(query), `a counter is shown by its rate: ${query}`);
  }
});

test('its panels have numbers of their own, and do not overlap', () => {
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  const taken = new Set();
  for (const { title, gridPos } of dashboard.panels) {
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(x < 24 && !taken.has(`${x} ${y}`), title);
        taken.add(`${x} ${y}`);
      }
    }
  }
});
