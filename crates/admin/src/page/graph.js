// The neighbourhood: the service in the centre, its peers around it. Few peers have labels; many become
// rings of marks. A state is a colour and a shape.

import { byId, draw, make, set } from './elements.js';
import { byName, known } from './known.js';
import { reveal } from './table.js';
import { count, counted, plain, span, trip } from './words.js';

const LABELLED = 24; // peers that have a label; more of them become rings

const graph = { key: '', labels: new Map() };

export function showGraph(now) {
  const box = byId('graph');
  const peers = [...known.peers.values()].sort(byName);
  const away = peers.filter((peer) => !peer.connected);
  set(
    byId('graph-count'),
    peers.length ? `${count(peers.length - away.length)} of ${counted(peers.length, 'peer')} connected` : 'nobody yet',
  );
  const [width, height] = [box.clientWidth, box.clientHeight];
  const key = [
    width,
    height,
    known.service.name,
    ...peers.map((peer) => `${peer.name} ${peer.told.state} ${peer.told.dialled}`),
  ].join('\n');
  if (key !== graph.key) {
    graph.key = key;
    graph.labels.clear();
    const svg = draw('svg', {
      role: 'img',
      'aria-label': described(peers.length, away),
      viewBox: `0 0 ${width} ${height}`,
    });
    svg.append(
      ...(peers.length > LABELLED ? ring(peers, away, width, height) : star(peers, width, height)),
      centre(width, height),
    );
    box.replaceChildren(svg);
    showLegend(peers.length > LABELLED, away);
  }
  for (const [peer, label] of graph.labels) set(label, underLabel(peer, now));
}

function described(number, away) {
  const names = away
    .slice(0, 20)
    .map((peer) => peer.shownName)
    .join(', ');
  return `The service and its ${counted(number, 'peer')}: ${number - away.length} connected, ${away.length} away${names && `: ${names}`}`;
}

function showLegend(compact, away) {
  const names = away
    .slice(0, compact ? 8 : 0)
    .flatMap((peer, index) => [index ? ', ' : ': ', make('bdi', '', peer.shownName)]);
  const more = away.length - names.length / 2;
  const last = make('span', '', compact ? `◇ ${count(away.length)} away` : '◇ away');
  last.append(...names, compact && more > 0 ? ` and ${count(more)} more` : '');
  const arrows = compact ? '' : make('span', '', '▸ towards the side that is dialled');
  byId('graph-legend').replaceChildren(make('span', '', '● connected'), last, arrows);
}

function underLabel(peer, now) {
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
    const node = draw('g', { 'data-peer': '', 'data-state': peer.connected ? 'connected' : 'away' });
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
    const state = peer.connected || under ? '' : ' · away';
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
function ring(peers, away, width, height) {
  const [inner, outer] = [38, Math.min(width, height) / 2 - 4];
  const space = Math.min(18, Math.sqrt((Math.PI * (outer ** 2 - inner ** 2)) / peers.length) * 0.93);
  const size = Math.max(1.2, Math.min(5, space * 0.3));
  const nodes = [];
  let radius = inner + space / 2;
  let places = 0;
  let place = 0;
  for (const peer of [...peers.filter((other) => other.connected), ...away]) {
    if (place === places) {
      if (nodes.length) radius += space;
      [places, place] = [Math.floor((2 * Math.PI * radius) / space), 0];
    }
    const angle = (place / places) * 2 * Math.PI - Math.PI / 2;
    place += 1;
    const [x, y] = [width / 2 + radius * Math.cos(angle), height / 2 + radius * Math.sin(angle)];
    const node = draw(
      'g',
      { 'data-peer': '', 'data-state': peer.connected ? 'connected' : 'away' },
      spot(peer, x, y, size),
      draw('title', {}, `${peer.shownName}: ${peer.connected ? 'connected' : 'away'}`),
    );
    node.onclick = () => reveal(peer);
    nodes.push(node);
  }
  return nodes;
}

function spot(peer, x, y, size) {
  if (peer.connected) return draw('circle', { class: 'up', cx: x, cy: y, r: size });
  const far = size * 1.25;
  return draw('path', { class: 'down', d: `M${x} ${y - far}l${far} ${far}-${far} ${far}-${far}-${far}Z` });
}

function shortened(text, letters) {
  return text.length > letters ? `${text.slice(0, Math.max(1, letters - 1))}…` : text;
}
