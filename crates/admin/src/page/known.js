// What the page knows of the service, and the last ten minutes of it.

import { tell, tellState } from './announcements.js';
import { count, isNumber, plain, sentence } from './words.js';

export const SECONDS = 600; // of history, one value for each
const QUIET = 2500; // ms after which a service that says nothing has nothing new to say
const RATE_OVER = 4; // s over which a rate is averaged
const SOFTWARE = 100; // characters of what a peer says of its software
const HISTORIES = 1000; // peers whose history is kept

/** The connection of the page to the service. */
export const link = {
  /** 'connecting', 'live' or 'lost'. */
  state: 'connecting',
  /** When the service was heard last; at first, when the page was opened. */
  heard: Date.now(),
  cause: '',
  nextAt: 0,
  token: null,
};

export const known = {
  service: null,
  ready: { ready: true, reasons: [] },
  /** The peers by name. */
  peers: new Map(),
  refusals: [],
  /** Null if the store has not told them. */
  orphans: [],
  events: [],
  /** When the peers were told last. */
  toldAt: 0,
  /** How far the browser's clock is ahead of the service's, in ms. */
  ahead: 0,
};

/** The last ten minutes of some numbers, a value for each second; NaN where nothing is known. */
export class Track {
  constructor() {
    this.lines = {};
    for (const name of ['out', 'in', 'trip', 'queue']) this.lines[name] = new Float32Array(SECONDS).fill(NaN);
    this.next = 0;
    this.now = {};
  }

  /** Adds the values of a second. */
  push(now) {
    this.now = now;
    this.add(now);
  }

  /** Adds a second of which nothing is known; the last values stay. */
  skip() {
    this.add({});
  }

  add(now) {
    for (const name in this.lines) this.lines[name][this.next] = now[name] ?? NaN;
    this.next = (this.next + 1) % SECONDS;
  }
}

export class Peer {
  constructor(name) {
    this.name = name;
    this.shownName = plain(name);
    this.rates = { out: null, in: null };
    this.trail = [];
    this.track = null;
  }

  take(told) {
    this.told = told;
    this.toldAt = Date.now();
    this.connected = told.state === 'connected';
    this.since = Date.parse(told.since);
    this.software = plain(told.software, SOFTWARE);
    this.queue = told.outbox?.messages ?? 0;
    this.never = !this.connected && !isNumber(this.since);
    this.place = placeOf(told);
    /** Whether its link is not this replica's. */
    this.foreign = !this.connected && told.owned === false;
    this.state = this.connected ? 'connected' : this.foreign && isNumber(told.owner?.replica) ? 'elsewhere' : 'away';
    this.trip = this.connected ? (told.round_trip_seconds ?? null) : null;
  }

  /** Returns whether a text in small letters is in what a person knows it by. */
  matches(text) {
    const { address, url, software } = this.told;
    return !text || [this.name, address, url, software].join('\n').toLowerCase().includes(text);
  }

  /** Returns the age of the oldest message that waits. */
  oldest(now) {
    const told = this.told.outbox?.oldest_seconds;
    return this.queue > 0 && isNumber(told) ? told + (now - this.toldAt) / 1000 : null;
  }

  /** Returns how urgently a person should look at it: the smaller, the more. */
  rank() {
    if (this.told.halted) return 0;
    if (this.state === 'away') return this.told.required ? 1 : 2;
    return this.connected ? 3 : 4;
  }

  /** Returns what is wrong, in words. */
  problem() {
    if (this.told.halted) {
      const text = 'Its messages are not handled any more: the handler has failed, and the policy is to stop.';
      return { text, remedy: 'Mend the handler, and restart the service.' };
    }
    const error = this.told.last_error;
    if (this.state !== 'away' || !error) return null;
    return { text: sentence(error.text), remedy: error.remedy ? sentence(error.remedy) : '' };
  }

  /** Takes the counters as they were at some time; rates are between such times. */
  measure(at) {
    const [out, into] = [this.told.sent?.handled ?? NaN, this.told.received?.handled ?? NaN];
    const last = this.trail.at(-1);
    if (last && at <= last.at) return;
    if (last && (out < last.out || into < last.in)) this.trail = [];
    this.trail.push({ at, out, in: into });
    while (this.trail.length > RATE_OVER + 1) this.trail.shift();
    const first = this.trail[0];
    const seconds = (at - first.at) / 1000;
    this.rates.out = seconds > 0.9 ? (out - first.out) / seconds : null;
    this.rates.in = seconds > 0.9 ? (into - first.in) / seconds : null;
  }
}

/** The states of a peer, in words. The link of one that is `elsewhere` is another living replica's. */
export const STATES = { connected: 'connected', elsewhere: 'at another replica', away: 'away' };

/** Returns how many peers are in each state, in words; nobody who is elsewhere is left out. */
export function tally(peers) {
  const number = (state) => peers.filter((peer) => peer.state === state).length;
  return Object.entries(STATES)
    .map(([state, words]) => [number(state), words, state])
    .filter(([many, , state]) => many > 0 || state !== 'elsewhere')
    .map(([many, words]) => `${count(many)} ${words}`)
    .join(', ');
}

/** Returns where a peer is, in the words of `paddington status`: of replicas, another one may own its link. */
function placeOf({ state, owned, owner }) {
  if (state === 'connected') return 'connected';
  if (owned !== false) return 'away';
  if (!owner) return 'not here';
  return isNumber(owner.replica) ? `replica ${owner.replica} owns it` : 'no replica owns it';
}

const collator = new Intl.Collator('en', { numeric: true });
export const compareTexts = (a, b) => collator.compare(a, b);
export const byName = (a, b) => compareTexts(a.name, b.name);

export function takeStatus(status) {
  known.toldAt = Date.now();
  const before = known.peers;
  known.peers = new Map();
  for (const told of status.peers ?? []) {
    const peer = before.get(told.name) ?? new Peer(told.name);
    takePeer(peer, told);
    peer.trail = [];
  }
  takeParts(status);
  takeEvents((status.events ?? []).toReversed());
  const { started, uptime_seconds: uptime } = status.service ?? {};
  const ahead = Date.now() - (Date.parse(started) + uptime * 1000);
  known.ahead = isNumber(ahead) ? ahead : 0;
}

export function takeUpdate(update) {
  known.toldAt = Date.now();
  const changed = Array.isArray(update) ? update : (update.peers ?? []);
  for (const told of changed) takePeer(known.peers.get(told.name) ?? new Peer(told.name), told);
  for (const name of update.removed ?? []) known.peers.delete(name);
  takeParts(update);
}

function takePeer(peer, told) {
  const was = peer.state;
  peer.take(told);
  known.peers.set(peer.name, peer);
  if (was && was !== peer.state && link.state === 'live') tellState(peer);
}

function takeParts({ service, ready, refusals, orphans }) {
  if (service) known.service = service;
  if (ready) {
    if (known.ready.ready !== ready.ready) tell(ready.ready ? 'The service is ready.' : 'The service is not ready.');
    known.ready = ready;
  }
  if (refusals) known.refusals = refusals;
  if (orphans !== undefined) known.orphans = orphans;
}

/** Takes events, newest first. One that came while the status was made may be there twice. */
export function takeEvents(events) {
  const different = new Map(events.map((event) => [JSON.stringify(event), event])).values();
  known.events = [...different].sort((a, b) => Date.parse(b.at) - Date.parse(a.at)).slice(0, 50);
}

export const total = new Track();
let sampledAt = 0;

/** Adds a value to every history, once a second. */
export function sample() {
  const now = Date.now();
  const second = Math.floor(now / 1000);
  const missed = Math.min(SECONDS, sampledAt ? second - sampledAt : 1);
  if (missed < 1 || !known.service) return;
  sampledAt = second;
  const live = link.state === 'live';
  const at = now - known.toldAt > QUIET ? now : known.toldAt;
  const sum = { out: null, in: null, queue: 0 };
  const trips = [];
  let histories = 0;
  for (const peer of known.peers.values()) {
    if (live) peer.measure(at);
    for (const way of ['out', 'in']) if (isNumber(peer.rates[way])) sum[way] += peer.rates[way];
    sum.queue += peer.queue;
    if (peer.trip !== null) trips.push(peer.trip);
    if (!peer.track && ++histories < HISTORIES) peer.track = new Track();
    if (peer.track) advance(peer.track, live && { ...peer.rates, trip: peer.trip, queue: peer.queue }, missed);
  }
  sum.trip = trips.length ? trips.sort((a, b) => a - b)[trips.length >> 1] : null;
  advance(total, live && sum, missed);
}

function advance(track, values, seconds) {
  for (let times = 0; times < seconds; times += 1) {
    if (values) track.push(values);
    else track.skip();
  }
}

/** Returns the service's time, which stands still while the page does not hear of it. */
export function serviceTime() {
  return (link.state === 'live' ? Date.now() : link.heard) - known.ahead;
}
