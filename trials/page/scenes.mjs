// The scenes of the mock: what a service would say of itself, second by second. Everything is drawn
// from a seed, so that a scene is the same each time.

/** Returns numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function randoms(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const DAY = 86_400;

/** A service that is told of its peers by a scene, and whose time goes on with `step`. */
export class World {
  constructor(name, { now = Date.now(), changes = true, seed = 7 } = {}) {
    this.now = now;
    this.random = randoms(seed);
    this.service = {
      name,
      software: 'paddington/0.4.0',
      started: this.ago(3 * DAY + 7 * 3600 + 1380),
      uptime_seconds: 0,
      listening: '0.0.0.0:6501',
      url: `wss://${name}.example.net/paddington`,
      store: { commits: 9_311, messages: 41_027, commit_p50_seconds: 0.0021, commit_p99_seconds: 0.014, bloat: 0 },
      handler: 'api',
      changes,
    };
    this.ready = { ready: true, reasons: [] };
    this.peers = new Map();
    this.refusals = [];
    this.orphans = [];
    this.events = [];
    this.plans = [];
    this.changed = new Set();
    this.parts = {};
    this.removed = [];
  }

  ago(seconds) {
    return new Date(this.now - seconds * 1000).toISOString();
  }

  /** Adds a peer. `out` and `in` are messages per second, `trip` is in seconds. */
  peer(name, { out = 20, in: into = 10, trip = 0.002, away = null, ...told } = {}) {
    const sent = Math.floor(out * 40_000 * (0.5 + this.random()));
    const received = Math.floor(into * 40_000 * (0.5 + this.random()));
    const peer = {
      name,
      role: 'client',
      dialled: false,
      state: 'connected',
      since: this.ago(3600 * (1 + 70 * this.random())),
      encoding: 'sealed',
      software: 'paddington/0.4.0',
      address: '203.0.113.17:51874',
      round_trip_seconds: trip,
      outbox: { messages: 0, bytes: 0, oldest_seconds: null, in_flight: 0, stored: true },
      inbox: { messages: 0, bytes: 0 },
      sent: { accepted: sent, handled: sent, rejected: 0, expired: 0, too_long: 0 },
      received: { handled: received, failed: 0, dead_letters: 0 },
      sessions: 3,
      link: '5d0be1c2',
      requests: { requested: 120, answered: 120, failed: 0, expired: 0, cancelled: 0, waiting: 0, unanswered: 0 },
      keys: { generation: 3, since: this.ago(DAY * 11.2), fixed: null, invitation: null },
      range: '203.0.113.0/24',
      url: null,
      halted: false,
      required: false,
      last_error: null,
      ...told,
    };
    this.peers.set(name, { told: peer, out, in: into, trip, queuedAt: [] });
    this.changed.add(name);
    if (away) this.leave(name, away, false);
    return peer;
  }

  /** Takes a peer's connection away. */
  leave(name, { text, remedy = null, seconds = 0, ended = text }, event = true) {
    const { told } = this.peers.get(name);
    told.state = 'away';
    told.since = this.ago(seconds);
    told.address = null;
    told.round_trip_seconds = null;
    told.last_error = { at: this.ago(seconds), text, remedy };
    this.changed.add(name);
    if (event) this.event('down', name, `the connection to ${name} has ended: ${ended}`, seconds);
  }

  /** Lets another replica own the link of a peer; `null` is none. */
  own(name, replica) {
    const { told } = this.peers.get(name);
    Object.assign(told, { owned: false, owner: { replica } });
    this.changed.add(name);
  }

  /** Gives a peer its connection back. */
  come(name) {
    const { told } = this.peers.get(name);
    told.state = 'connected';
    told.since = this.ago(0);
    told.address = '203.0.113.17:51880';
    this.changed.add(name);
    this.event('up', name, `${name} is connected`);
  }

  remove(name) {
    this.peers.delete(name);
    this.removed.push(name);
    this.event('peer_removed', name, `${name} was removed`);
  }

  event(kind, peer, text, seconds = 0) {
    const event = { at: this.ago(seconds), kind, peer, text };
    this.events = [event, ...this.events].slice(0, 50);
    this.newest?.(event);
  }

  setReady(...reasons) {
    this.ready = { ready: reasons.length === 0, reasons };
    this.parts.ready = this.ready;
  }

  refuse(address, stage, cause, remedy, count, seconds) {
    this.refusals.push({ first: this.ago(seconds * 3), last: this.ago(seconds), address, stage, cause, remedy, count });
    this.parts.refusals = this.refusals;
  }

  /** Does something in some seconds. */
  in(seconds, what) {
    this.plans.push({ at: this.now + seconds * 1000, what });
  }

  /** Goes on by a second. */
  step() {
    this.now += 1000;
    for (const plan of this.plans.splice(0)) {
      if (plan.at <= this.now) plan.what(this);
      else this.plans.push(plan);
    }
    for (const [name, peer] of this.peers) {
      if (this.move(peer)) this.changed.add(name);
    }
  }

  move(peer) {
    const { told, out, in: into } = peer;
    const wave = 1 + 0.25 * Math.sin(this.now / 47_000 + out) + 0.3 * (this.random() - 0.5);
    const accepted = this.whole(out * wave);
    const waits = told.outbox;
    if (told.sent) told.sent.accepted += accepted;
    if (told.state === 'connected') {
      const room = Math.ceil(out * 6) + 4;
      const handled = Math.min(waits.messages + accepted, accepted + room);
      waits.messages += accepted - handled;
      if (told.sent) told.sent.handled += handled;
      told.received.handled += this.whole(into * (2 - wave));
      told.round_trip_seconds = peer.trip * (0.92 + 0.3 * this.random() ** 3 + (this.random() > 0.99 ? 0.9 : 0));
      waits.in_flight = Math.min(waits.messages, 64);
    } else {
      waits.messages += accepted;
      waits.in_flight = 0;
    }
    waits.bytes = waits.messages * 312;
    waits.oldest_seconds = waits.messages ? (waits.oldest_seconds ?? 0) + 1 : null;
    if (told.state === 'connected' && waits.messages) waits.oldest_seconds = waits.messages / (out * 6);
    return accepted > 0 || told.state === 'connected';
  }

  whole(number) {
    return Math.max(0, Math.floor(number + this.random()));
  }

  status() {
    this.service.uptime_seconds = (this.now - Date.parse(this.service.started)) / 1000;
    const { service, ready, refusals, orphans, events } = this;
    return {
      service,
      ready,
      peers: [...this.peers.values()].map(({ told }) => told),
      refusals,
      orphans,
      events: events.toReversed(),
    };
  }

  /** Returns what has changed since the last time. */
  update() {
    const peers = [...this.changed].filter((name) => this.peers.has(name)).map((name) => this.peers.get(name).told);
    const update = { peers, removed: this.removed, ...this.parts };
    this.changed.clear();
    [this.parts, this.removed] = [{}, []];
    return update;
  }
}

function three(world) {
  world.peer('billing', { out: 85, in: 31, trip: 0.0021, required: true, address: '203.0.113.17:51874' });
  world.peer('warehouse', {
    out: 340,
    in: 120,
    trip: 0.0126,
    role: 'server',
    dialled: true,
    address: '198.51.100.4:443',
    range: null,
    url: 'wss://warehouse.example.org/',
    keys: { generation: 6, since: world.ago(DAY * 2.4), fixed: null, invitation: null },
  });
  world.peer('printer', {
    out: 0.4,
    in: 2,
    trip: 0.031,
    role: 'server',
    dialled: true,
    encoding: 'hex',
    software: null,
    sent: null,
    address: '192.0.2.80:6600',
    range: null,
    url: 'ws://192.0.2.80:6600/',
    keys: { generation: null, since: null, fixed: 'hex', invitation: null },
  });
  world.event('up', 'printer', 'printer is connected', 5210);
  world.event('up', 'warehouse', 'warehouse is connected', 3900);
  world.event('up', 'billing', 'billing is connected', 620);
}

const REMEDIES = {
  address: [
    'the address is in no invitation’s range',
    'if it is a client, widen the range of its invitation; if it is a proxy, add it to the trusted ones',
  ],
  upgrade: [
    'its request is no upgrade to a WebSocket of this protocol',
    'let a proxy pass on Upgrade, Connection and Sec-WebSocket headers; none is needed for a scanner or a browser',
  ],
  keys: [
    'the peer could not be authenticated',
    'give the client its latest invitation, check its range, and let a proxy pass on the query of the URL',
  ],
};

export const SCENES = {
  connected(options) {
    const world = new World('hub', options);
    three(world);
    world.refuse('198.51.100.203', 'request', ...REMEDIES.upgrade, 14, 1260);
    return world;
  },

  /** A peer is lost after `lossAt` seconds; at 0, it has been away for four minutes. */
  degraded({ lossAt = 0, ...options } = {}) {
    const world = new World('hub', options);
    three(world);
    world.peer('ledger', {
      out: 12,
      in: 40,
      trip: 0.0047,
      role: 'server',
      dialled: true,
      url: 'wss://ledger.example.org/',
      range: null,
      address: '192.0.2.33:443',
    });
    world.refuse('203.0.113.90', 'hello', ...REMEDIES.keys, 37, 9);
    world.refuse('192.0.2.250', 'accept', ...REMEDIES.address, 2, 340);
    world.refuse('198.51.100.203', 'request', ...REMEDIES.upgrade, 14, 1260);
    world.event('dead_letter', 'ledger', 'the message 20417 of ledger has become a dead letter', 790);
    world.peers.get('ledger').told.received.dead_letters = 1;
    const away = {
      text: '198.51.100.4:443 could not be reached: connection refused',
      remedy:
        'check that the server runs, that the port in the invitation’s URL is its own, and that no firewall refuses it',
      ended: 'nothing arrived from the peer for too long',
    };
    const lose = () => {
      world.leave('warehouse', { ...away, seconds: lossAt ? 0 : 245 });
      world.in(lossAt ? 60 : 0, () => world.setReady('the required peer “warehouse” has been away for more than 60 s'));
    };
    world.peers.get('warehouse').told.required = true;
    world.orphans = [{ peer: 'old-shop', link: '4f1c9ab2', messages: 212, bytes: 66_144 }];
    if (lossAt) world.in(lossAt, lose);
    else lose();
    return world;
  },

  one(options) {
    const world = new World('printer', options);
    world.service.listening = null;
    world.service.url = '';
    world.service.handler = 'program';
    world.peer('hub', {
      out: 2,
      in: 3,
      trip: 0.018,
      role: 'server',
      dialled: true,
      url: 'wss://hub.example.net/',
      range: null,
    });
    return world;
  },

  /** One of several replicas: two links are not its own, of which another replica owns one. */
  replicas(options) {
    const world = new World('hub', options);
    world.service.replica = { number: 2, lease_seconds: 8.4, links: 2, claimed: 6, yielded: 3, deposed: 1 };
    const ended = { text: 'the link has another owner', remedy: 'nothing', seconds: 245 };
    world.peer('billing');
    world.peer('ledger', { out: 0, away: AWAY[0] });
    world.peer('till', { out: 0, away: ended });
    world.peer('warehouse', { out: 0, away: ended });
    world.own('till', null);
    world.own('warehouse', 5);
    return world;
  },

  twenty: (options) => crowd(20, options),
  many: (options) => crowd(200, options),
  thousand: (options) => crowd(1000, options),

  empty(options) {
    return new World('hub', options);
  },

  /** Everything that comes from others tries to be more than text. */
  hostile(options) {
    const evil = '<img src=x onerror="window.hit=1"><script>window.hit=2</script>';
    const world = new World('hub', options);
    world.peer('constructor', { software: evil });
    world.peer('__proto__', {
      software: `\u202egnp.exe\u202c${'A'.repeat(5000)}`,
      address: '"><svg onload=window.hit=3>',
    });
    world.peer('${window.hit=4}', {
      range: evil,
      url: 'javascript:window.hit=5',
      away: { text: evil, remedy: `<a href="javascript:window.hit=6">${evil}</a>\n\nforged line` },
    });
    world.peer('nothing', {
      outbox: null,
      inbox: null,
      sent: null,
      received: { handled: 'NaN' },
      requests: null,
      keys: null,
      since: 'yesterday',
      round_trip_seconds: '1',
    });
    world.peers.get('nothing').told.outbox = { messages: 0 };
    world.event(evil, evil, `${evil}\u0000\u001b[31m`);
    world.refuse(evil, evil, evil, evil, 3, 5);
    world.orphans = [{ peer: evil, link: evil, messages: 1, bytes: 1 }];
    world.setReady(evil);
    return world;
  },
};

const PLACES = ['bergen', 'porto', 'lyon', 'graz', 'turku', 'gdansk', 'brno', 'malmo', 'ghent', 'bilbao'];

function crowd(number, options) {
  const world = new World('hub', options);
  for (let index = 0; index < number; index += 1) {
    const name = `shop-${PLACES[index % PLACES.length]}-${String(Math.floor(index / PLACES.length) + 1).padStart(2, '0')}`;
    const bad = index % 37 === 11;
    world.peer(name, {
      out: 0.5 + 9 * world.random() ** 3,
      in: 0.5 + 5 * world.random() ** 2,
      trip: 0.004 + 0.05 * world.random() ** 2,
      address: `203.0.113.${index % 250}:${40_000 + index}`,
      software: index % 9 ? 'paddington/0.4.0' : 'paddington/0.3.2',
      keys: { generation: 1 + (index % 5), since: world.ago(DAY * 30 * world.random()), fixed: null, invitation: null },
      away: bad ? AWAY[(index >> 2) % AWAY.length] : null,
    });
    if (bad) world.peers.get(name).told.outbox.messages = Math.floor(world.random() * 900);
  }
  world.event('up', 'shop-graz-04', 'shop-graz-04 is connected', 40);
  world.event(
    'down',
    'shop-gdansk-02',
    'the connection to shop-gdansk-02 has ended: nothing arrived from the peer for too long',
    610,
  );
  world.refuse('198.51.100.203', 'request', ...REMEDIES.upgrade, 212, 12);
  return world;
}

const AWAY = [
  {
    text: 'nothing arrived from the peer for too long',
    remedy:
      'check the network between the two, and whether the peer’s machine hangs; a proxy may cut connections that are silent',
    seconds: 610,
  },
  { text: 'the peer closed the connection: it shuts down', seconds: 95 },
  {
    text: 'the connection was lost',
    remedy: 'check the network between the two if this happens often',
    seconds: 7400,
  },
];
