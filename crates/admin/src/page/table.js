// The table of peers: which are shown, in which order, and the rows of each.

import { Details, keysOf } from './details.js';
import { byId, mark, set } from './elements.js';
import { byName, compareTexts, known, serviceTime } from './known.js';
import { count, isNumber, rate, span, trip } from './words.js';

const ROWS = 200; // peers in the table, and how many more the button shows
const UNSEEN = 10_000; // ms after which rows outside the window are shown again

const SORTS = {
  name: { of: () => null },
  state: { of: (peer) => peer.rank() },
  trip: { of: (peer) => peer.trip, number: true },
  out: { of: (peer) => peer.rates.out, number: true },
  in: { of: (peer) => peer.rates.in, number: true },
  queue: { of: (peer) => peer.queue, number: true },
  oldest: { of: (peer, now) => peer.oldest(now), number: true },
  keys: { of: (peer) => Date.parse(peer.told.keys?.since) || null },
  speaks: { of: (peer) => `${peer.told.encoding} ${peer.software}` },
};

const table = {
  sort: 'state',
  down: false,
  state: 'all',
  text: '',
  rows: ROWS,
  /** The rows by peer. */
  views: new Map(),
  order: [],
  orderedAt: 0,
};

/** Puts peers in order; those without a value come last, whatever the direction. */
function compare(a, b, now) {
  const { of } = SORTS[table.sort];
  const [first, second] = [of(a, now), of(b, now)];
  const way = table.down ? -1 : 1;
  if (first === second) return byName(a, b) * (table.sort === 'name' ? way : 1);
  if (first === null || second === null) return first === null ? 1 : -1;
  return way * (typeof first === 'string' ? compareTexts(first, second) : first - second);
}

const CHOICES = {
  all: () => true,
  connected: (peer) => peer.connected,
  elsewhere: (peer) => peer.state === 'elsewhere',
  away: (peer) => peer.state === 'away',
  waiting: (peer) => peer.queue > 0,
};

export function showTable(now) {
  const peers = [...known.peers.values()];
  for (const [choice, fits] of Object.entries(CHOICES)) {
    set(document.querySelector(`[data-count="${choice}"]`), count(peers.filter(fits).length));
  }
  const fitting = peers.filter((peer) => CHOICES[table.state](peer) && peer.matches(table.text));
  byId('elsewhere').hidden = !known.service.replica;
  showNone(peers.length, fitting.length);
  if (mayMove()) order(fitting, now);
  const left = new Set(fitting);
  for (const peer of table.order) if (left.has(peer)) view(peer).refresh(now);
}

/** Returns whether rows may change their places: not under a finger, and not too often. */
function mayMove() {
  const since = Date.now() - table.orderedAt;
  if (table.moved || !table.order.length || since > 30_000) return true;
  if (SORTS[table.sort].number && since < 5000) return false;
  return !document.querySelector('#table tbody:is(:hover, :focus-within)');
}

function order(fitting, now) {
  fitting.sort((a, b) => compare(a, b, now));
  const shown = fitting.slice(0, table.rows);
  table.moved = false;
  table.orderedAt = Date.now();
  const more = byId('more');
  more.hidden = fitting.length <= shown.length;
  set(
    byId('more-button'),
    `Show ${count(Math.min(ROWS, fitting.length - shown.length))} more of ${count(fitting.length)}`,
  );
  if (shown.length === table.order.length && shown.every((peer, index) => peer === table.order[index])) return;
  const wanted = new Set(shown);
  for (const peer of table.order) if (!wanted.has(peer)) drop(peer);
  const focused = document.activeElement;
  let after = byId('table').tHead;
  for (const peer of shown) {
    const { body } = view(peer);
    if (after.nextElementSibling !== body) after.after(body);
    after = body;
  }
  if (focused.isConnected) focused.focus({ preventScroll: true });
  table.order = shown;
}

function drop(peer) {
  visible.unobserve(view(peer).body);
  view(peer).body.remove();
  table.views.delete(peer);
}

function view(peer) {
  if (!table.views.has(peer)) table.views.set(peer, new Row(peer));
  return table.views.get(peer);
}

function showNone(all, fitting) {
  const none = byId('none');
  none.hidden = fitting > 0;
  const text = all
    ? 'No peer fits.'
    : 'There are no peers yet. “paddington invite NAME --from RANGE” introduces one, “paddington join FILE” accepts an invitation.';
  set(none, fitting ? '' : text);
  byId('table').hidden = !all;
}

const CELLS = 'state since c-trip c-out c-in c-queue c-oldest c-keys c-speaks dials tag problem text remedy'.split(' ');

/** Tells the rows whether they are in the window, or nearly. */
const visible = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) target.row.setVisible(isIntersecting);
  },
  { rootMargin: '300px' },
);

/** The rows of one peer: its values, what is wrong with it, and, once asked for, its details. */
class Row {
  constructor(peer) {
    this.peer = peer;
    const body = byId('peer-template').content.firstElementChild.cloneNode(true);
    this.body = body;
    this.cells = {};
    for (const name of CELLS) {
      this.cells[name] = body.querySelector(`.${name}`);
    }
    this.button = body.querySelector('.name');
    body.querySelector('bdi').textContent = peer.shownName;
    this.button.title = peer.shownName;
    this.button.onclick = () => this.toggle();
    this.shownAt = 0;
    body.row = this;
    visible.observe(body);
  }

  setVisible(isVisible) {
    this.isVisible = isVisible;
    if (isVisible) this.show(serviceTime());
  }

  /** Shows the present values; outside the window, which matters to some readers, only now and then. */
  refresh(now) {
    const late = Math.abs(now - this.shownAt) > UNSEEN;
    if (this.isVisible || late || this.state !== this.peer.state) this.show(now);
  }

  show(now) {
    const { peer, cells } = this;
    this.shownAt = now;
    this.state = peer.state;
    mark(this.body, 'state', peer.state);
    set(cells.state, peer.place);
    set(cells.since, peer.foreign ? '' : peer.never ? 'not connected yet' : span((now - peer.since) / 1000));
    set(cells['c-trip'], trip(peer.trip));
    set(cells['c-out'], rate(peer.rates.out));
    set(cells['c-in'], rate(peer.rates.in));
    set(cells['c-queue'], count(peer.queue));
    set(cells['c-oldest'], peer.queue ? span(peer.oldest(now)) : '–');
    set(cells['c-keys'], keysOf(peer, now));
    set(cells['c-speaks'], [peer.told.encoding, peer.software].filter(Boolean).join(' · '));
    this.showDialler();
    cells.tag.hidden = !peer.told.required;
    const problem = peer.problem();
    cells.problem.hidden = !problem;
    set(cells.text, problem?.text ?? '');
    set(cells.remedy, problem?.remedy ?? '');
    this.details?.show(now);
  }

  showDialler() {
    const { dialled } = this.peer.told;
    set(this.cells.dials, dialled ? '→' : '←');
    if (this.dialled === dialled) return;
    this.dialled = dialled;
    this.cells.dials.ariaLabel = dialled ? 'this side dials' : 'it dials';
    this.cells.dials.title = dialled ? 'This side dials' : 'It dials this side';
  }

  toggle() {
    const open = !this.details;
    this.button.setAttribute('aria-expanded', String(open));
    if (open) this.details = new Details(this.peer);
    else this.details.row.remove();
    if (open) this.body.append(this.details.row);
    else this.details = null;
    this.show(serviceTime());
  }
}

/** Opens the details of a peer, and goes there. */
export function reveal(peer) {
  if (!table.order.includes(peer)) {
    byId('filter').value = '';
    document.querySelector('[name="state"][value="all"]').checked = true;
    Object.assign(table, { state: 'all', text: '', rows: Math.max(table.rows, known.peers.size), moved: true });
    showTable(serviceTime());
  }
  const row = view(peer);
  if (!row.details) row.toggle();
  row.button.focus();
  row.body.scrollIntoView({ block: 'center' });
}

/** Listens to the heads of the columns, the filter and the button for more. */
export function listen() {
  const again = (change) => {
    change();
    table.moved = true;
    if (known.service) showTable(serviceTime());
  };
  for (const button of document.querySelectorAll('[data-sort]'))
    button.onclick = () => again(() => sortBy(button.dataset.sort));
  byId('states').onchange = (event) => again(() => (table.state = event.target.value));
  byId('filter').oninput = (event) => again(() => (table.text = event.target.value.trim().toLowerCase()));
  byId('more-button').onclick = () => again(() => (table.rows += ROWS));
}

function sortBy(name) {
  table.down = table.sort === name ? !table.down : Boolean(SORTS[name].number);
  table.sort = name;
  for (const button of document.querySelectorAll('[data-sort]')) {
    const head = button.parentNode;
    head.removeAttribute('aria-sort');
    if (button.dataset.sort === name) head.setAttribute('aria-sort', table.down ? 'descending' : 'ascending');
  }
}
