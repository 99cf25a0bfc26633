// The neighbourhood: the service in the centre, its peers around it. Few peers have labels; many become
// rings of marks. A state is a colour and a shape; those at another replica are hollow.

import { byId, draw, make, set } from './elements.js';
import { byName, known, STATES, tally } from './known.js';
import { reveal } from './table.js';
import { count, counted, plain, span, trip } from './words.js';

const LABELLED = 24; // peers that have a label; more of them become rings

const graph = { key: '', labels: new Map() };

export function showGraph(now) {
  const box = byId('graph');
  const peers = [...known.peers.values()].sort(byName);
  const away = inState(peers, 'away');
  const [connected, elsewhere] = ['connected', 'elsewhere'].map((state) => inState(peers, state).length);
  const here = `${count(connected)} of ${counted(peers.length, 'peer')} connected`;
  const there = elsewhere ? `, ${count(elsewhere)} ${STATES.elsewhere}` : '';
  set(byId('graph-count'), peers.length ? here + there : 'nobody yet');
  const [width, height] = [box.clientWidth, box.clientHeight];
  const key = [
    width,
    height,
    known.service.name,
    ...peers.map((peer) => `${peer.name} ${peer.state} ${peer.told.dialled}`),
  ].join('\n');
  if (key !== graph.key) {
    graph.key = key;
    graph.labels.clear();
    const svg = draw('svg', {
      role: 'img',
      'aria-label': described(peers, away),
      viewBox: `0 0 ${width} ${height}`,
    });
    svg.append(
      ...(peers.length > LABELLED ? ring(peers, width, height) : star(peers, width, height)),
      centre(width, height),
    );
    box.replaceChildren(svg);
    showLegend(peers.length > LABELLED, elsewhere, away);
  }
  for (const [peer, label] of graph.labels) set(label, underLabel(peer, now));
}

const inState = (peers, state) => peers.filter((peer) => peer.state === state);

function described(peers, away) {
  const names = away
    .slice(0, 20)
    .map((peer) => peer.shownName)
    .join(', ');
  return `The service and its ${counted(peers.length, 'peer')}: ${tally(peers)}${names && `: ${names}`}`;
}

function showLegend(compact, elsewhere, away) {
  const names = away
    .slice(0, compact ? 8 : 0)
    .flatMap((peer, index) => [index ? ', ' : ': ', make('bdi', '', peer.shownName)]);
  const more = away.length - names.length / 2;
  const last = make('span', '', compact ? `◇ ${count(away.length)} away` : '◇ away');
  last.append(...names, compact && more > 0 ? ` and ${count(more)} more` : '');
  const arrows = compact ? '' : make('span', '', '▸ towards the side that is dialled');
  const there = elsewhere ? [make('span', '', `○ ${compact ? `${count(elsewhere)} ` : ''}${STATES.elsewhere}`)] : [];
  byId('graph-legend').replaceChildren(make('span', '', '● connected'), ...there, last, arrows);
}

function underLabel(peer, now) {
  if (peer.state === 'elsewhere') return `at replica ${peer.told.owner.replica}`;
  if (!peer.connected) return !peer.never ? `away ${span((now - peer.since) / 1000)}` : 'away';
  return peer.trip === null ? 'connected' : trip(peer.trip);
}

function centre(width, height) {
  const name = shortened(plain(known.service.name), 14);
  const half = Math.max(26, name.length * 3.9 + 10);
  return draw(
    'g',
    { transform: `translate(${width / 2} ${height / 2})` },
    draw('rect', { class: 'centre', x: -half, y: -15, width: half * 2, height: 30, rx: 6 }),
    draw('text', { class: 'own', y: 4.5 }, name),
  );
}

/** Returns the peers on an ellipse, at heights that leave each label its own line. */
function star(peers, width, height) {
  const room = Math.max(96, Math.min(150, width * 0.28));
  const [across, up] = [Math.max(60, width / 2 - room), height / 2 - 12];
  const right = peers.length - (peers.length >> 1);
  const under = (up * 2) / right > 27;
  return peers.map((peer, index) => {
    const side = index < right ? 1 : -1;
    const place = (((index % right) + 0.5) / (side > 0 ? right : peers.length - right)) * 2 - 1;
    const [x, y] = [side * across * Math.sqrt(1 - (place * 0.92) ** 2), place * up];
    const node = draw('g', { 'data-peer': '', 'data-state': peer.state });
    const [middleX, middleY] = [width / 2, height / 2];
    const turn = (Math.atan2(y, x) * 180) / Math.PI + (peer.told.dialled ? 0 : 180);
    const label = { x: x + side * 12, 'text-anchor': side > 0 ? 'start' : 'end' };
    const letters = Math.floor((room - 14) / 6.2);
    node.append(
      draw('line', { class: 'edge', x1: 0, y1: 0, x2: x, y2: y }),
      draw('path', {
        class: 'arrow',
        d: 'M5 0-4-4v8Z',
        transform: `translate(${x * 0.66} ${y * 0.66}) rotate(${turn})`,
      }),
      spot(peer, x, y, 5.5),
    );
    const state = peer.state !== 'away' || under ? '' : ' · away';
    node.append(
      draw('text', { ...label, y: y + (under ? -1 : 4) }, shortened(peer.shownName, letters - state.length) + state),
    );
    if (under) {
      const line = draw('text', { ...label, class: 'soft', y: y + 13 });
      graph.labels.set(peer, line);
      node.append(line);
    }
    node.append(draw('title', {}, peer.shownName));
    node.setAttribute('transform', `translate(${middleX} ${middleY})`);
    node.onclick = () => reveal(peer);
    return node;
  });
}

/** Returns many peers as rings around the service, those that are away outermost. */
function ring(peers, width, height) {
  const [inner, outer] = [38, Math.min(width, height) / 2 - 4];
  const space = Math.min(18, Math.sqrt((Math.PI * (outer ** 2 - inner ** 2)) / peers.length) * 0.93);
  const size = Math.max(1.2, Math.min(5, space * 0.3));
  const nodes = [];
  let radius = inner + space / 2;
  let places = 0;
  let place = 0;
  for (const peer of Object.keys(STATES).flatMap((state) => inState(peers, state))) {
    if (place === places) {
      if (nodes.length) radius += space;
      [places, place] = [Math.floor((2 * Math.PI * radius) / space), 0];
    }
    const angle = (place / places) * 2 * Math.PI - Math.PI / 2;
    place += 1;
    const [x, y] = [width / 2 + radius * Math.cos(angle), height / 2 + radius * Math.sin(angle)];
    const node = draw(
      'g',
      { 'data-peer': '', 'data-state': peer.state },
      spot(peer, x, y, size),
      draw('title', {}, `${peer.shownName}: ${STATES[peer.state]}`),
    );
    node.onclick = () => reveal(peer);
    nodes.push(node);
  }
  return nodes;
}

function spot(peer, x, y, size) {
  if (peer.state !== 'away') return draw('circle', { class: peer.connected ? 'up' : 'there', cx: x, cy: y, r: size });
  const far = size * 1.25;
  return draw('path', { class: 'down', d: `M${x} ${y - far}l${far} ${far}-${far} ${far}-${far}-${far}Z` });
}

function shortened(text, letters) {
  return text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text;
}
