// The status page of a service: it follows the stream of the service and shows what it is told, at
// most once for each picture of the screen. This file has the head of the page and puts the parts
// together. The page keeps nothing but the choice of colours, and asks nobody but the service that it
// came from.

import { ChartRow } from './charts.js';
import { byId, make, mark, set } from './elements.js';
import { showGraph } from './graph.js';
import { known, link, sample, serviceTime, total } from './known.js';
import { showLogs } from './logs.js';
import { follow } from './stream.js';
import { listen, showTable } from './table.js';
import { clock, count, plain, sentence, span, trip } from './words.js';

function showLink() {
  document.body.dataset.link = link.state;
  const words = { connecting: 'connecting', live: 'live', lost: 'not connected' };
  set(byId('link-state'), words[link.state]);
  byId('lost').hidden = link.state !== 'lost';
  byId('content').hidden = !known.service;
  if (link.state !== 'lost') return;
  set(byId('lost-since'), clock(link.heard));
  set(byId('lost-what'), `${link.cause} ${known.service ? 'All values are from then.' : ''}`);
  const left = Math.ceil((link.nextAt - Date.now()) / 1000);
  const asking = !byId('token-form').hidden;
  byId('try-now').hidden = asking;
  set(byId('lost-next'), asking ? '' : left > 0 ? `Next attempt in ${left} s` : 'Trying again …');
}

const FACTS = [
  ['up', (service, now) => span((now - Date.parse(service.started)) / 1000)],
  ['listens on', (service) => plain(service.listening ?? 'no port')],
  ['as', (service) => plain(service.url ?? '')],
  [
    'messages go to',
    (service) => ({ api: 'the local API', program: 'a program' })[service.handler] ?? plain(service.handler),
  ],
  ['software', (service) => plain(service.software)],
  [
    'replica',
    ({ replica }) => {
      if (!replica) return '';
      const lease = replica.lease_seconds > 0 ? `lease good for ${span(replica.lease_seconds)}` : 'lease lapsed';
      const leases = replica.database_lease_seconds ?? [];
      const lapsed = leases.flatMap((left, at) => (left > 0 ? [] : [`, lapsed in database ${at + 1}`]));
      return `${replica.number}, owns ${replica.links} links, ${lease}${lapsed.join('')}`;
    },
  ],
  ['store', ({ store }) => (store?.commits > 0 ? `a commit takes ${trip(store.commit_p50_seconds)}` : '')],
];

function showHead(now) {
  const { service, ready } = known;
  set(byId('service-name'), plain(service.name));
  const facts = byId('facts');
  for (const [index, [label, value]] of FACTS.entries()) {
    if (!facts.children[index]) {
      const pair = make('div');
      pair.append(make('dt', '', label), make('dd'));
      facts.append(pair);
    }
    const text = value(service, now);
    facts.children[index].hidden = !text;
    set(facts.children[index].lastChild, text);
  }
  const pill = byId('readiness');
  pill.hidden = false;
  mark(pill, 'ready', ready.ready ? 'yes' : 'no');
  set(pill, ready.ready ? 'ready' : 'not ready');
  showReasons(ready);
}

function showReasons({ ready, reasons = [] }) {
  const banner = byId('unready');
  banner.hidden = ready;
  const text = reasons.join('\n');
  if (banner.shown === text) return;
  banner.shown = text;
  byId('reasons').replaceChildren(...reasons.map((reason) => make('li', '', sentence(reason))));
}

let charts = null;
let scheduled = false;
let shownAt = 0;

function schedule() {
  if (scheduled || document.hidden) return;
  scheduled = true;
  requestAnimationFrame(show);
}

function show() {
  scheduled = false;
  shownAt = Date.now();
  showLink();
  if (!known.service) return;
  const now = serviceTime();
  showHead(now);
  showTable(now);
  charts ??= new ChartRow(byId('charts'), false);
  let oldest = 0;
  for (const peer of known.peers.values()) oldest = Math.max(oldest, peer.oldest(now) ?? 0);
  charts.show(total, oldest);
  showGraph(now);
  showLogs();
  const away = [...known.peers.values()].filter((peer) => peer.state === 'away').length;
  const state =
    link.state === 'lost'
      ? 'not connected: '
      : !known.ready.ready
        ? 'not ready: '
        : away
          ? `${count(away)} away: `
          : '';
  if (document.title !== `${state}${plain(known.service.name)}`)
    document.title = `${state}${plain(known.service.name)}`;
}

function chooseColours() {
  const choices = ['system', 'light', 'dark'];
  const button = byId('theme');
  const choose = (choice) => {
    document.documentElement.dataset.theme = choice;
    set(button, `Colours: ${choice}`);
    try {
      localStorage.setItem('colours', choice);
    } catch {
      // Without storage the choice lasts as long as the page.
    }
  };
  let kept = null;
  try {
    kept = localStorage.getItem('colours');
  } catch {
    // As above.
  }
  choose(choices.includes(kept) ? kept : 'system');
  button.onclick = () =>
    choose(choices[(choices.indexOf(document.documentElement.dataset.theme) + 1) % choices.length]);
}

chooseColours();
listen();
byId('try-now').onclick = () => link.wake?.();
document.onvisibilitychange = schedule;
new ResizeObserver(schedule).observe(byId('graph'));
showLink();

// Ages and delays go on when nothing arrives.
setInterval(() => {
  sample();
  if (Date.now() - shownAt > 900) schedule();
}, 1000);
follow(schedule);
