// A service that is none: it serves the status page from the source, and a scene on its stream.
//
//     node mock.mjs [--scene connected] [--port 6580] [--token WORD]

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { parseArgs } from 'node:util';

import { SCENES } from './scenes.mjs';

const PAGE = new URL('../../crates/admin/src/page/', import.meta.url);
const TYPES = { html: 'text/html', css: 'text/css', js: 'text/javascript' };
const POLICY =
  "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/** A mock that listens. `world` is its scene, `requests` are the changes that it was asked for. */
export class Mock {
  static async start({ scene = 'connected', port = 0, token = null, ticking = true, ...options } = {}) {
    const mock = new Mock(SCENES[scene](options), token);
    await new Promise((listening) => mock.server.listen(port, '127.0.0.1', listening));
    mock.url = `http://127.0.0.1:${mock.server.address().port}/`;
    if (ticking) mock.timer = setInterval(() => mock.tick(), 1000);
    return mock;
  }

  constructor(world, token) {
    this.world = world;
    this.token = token;
    this.streams = new Set();
    this.requests = [];
    this.refusing = false;
    this.server = createServer((request, response) => {
      this.answer(request, response).catch((error) => response.destroy(error));
    });
    world.newest = (event) => this.tell('event', event);
  }

  /** Goes on by a second, and tells the streams. */
  tick() {
    this.world.step();
    this.tell('peers', this.world.update());
  }

  tell(name, data) {
    const text = `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
    for (const stream of this.streams) stream.write(text);
  }

  /** Ends all streams, as a service that dies; the next ones are accepted with `refusing = false`. */
  drop(refusing = true) {
    this.refusing = refusing;
    for (const stream of this.streams) stream.destroy();
  }

  async close() {
    clearInterval(this.timer);
    this.drop();
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }

  async answer(request, response) {
    const { pathname } = new URL(request.url, this.url);
    if (this.refusing) {
      response.destroy();
      return;
    }
    if (!pathname.startsWith('/v1/')) {
      await this.serve(pathname === '/' ? '/index.html' : pathname, response);
    } else if (this.token && request.headers.authorization !== `Bearer ${this.token}`) {
      json(response, 401, {
        error: { code: 'unauthorized', message: 'the token is missing or wrong', remedy: 'see token_file' },
      });
    } else if (pathname === '/v1/status/stream') {
      this.stream(response);
    } else if (request.method === 'POST') {
      this.change(pathname, response);
    } else {
      json(response, 404, { error: { code: 'not_found', message: 'there is nothing here' } });
    }
  }

  async serve(pathname, response) {
    const type = TYPES[pathname.split('.').pop()];
    const text =
      type && /^\/\w+\.\w+$/.test(pathname) && (await readFile(new URL(`.${pathname}`, PAGE)).catch(() => null));
    const head = {
      'Content-Security-Policy': POLICY,
      'X-Content-Type-Options': 'nosniff',
      'Referrer-Policy': 'no-referrer',
      'Cache-Control': 'no-store',
    };
    response.writeHead(text ? 200 : 404, { ...head, 'Content-Type': `${type ?? 'text/plain'}; charset=utf-8` });
    response.end(text || '');
  }

  stream(response) {
    response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' });
    response.write(`event: status\ndata: ${JSON.stringify(this.world.status())}\n\n`);
    this.streams.add(response);
    response.on('close', () => this.streams.delete(response));
  }

  change(pathname, response) {
    const [, , , peer, what] = pathname.split('/').map(decodeURIComponent);
    this.requests.push({ peer, what });
    if (!this.world.service.changes)
      json(response, 403, {
        error: { code: 'read_only', message: 'changes are switched off', remedy: 'set api.changes' },
      });
    else if (what === 'ping') json(response, 200, { round_trip_seconds: 0.0021 });
    else {
      this.world.leave(peer, { text: 'this side closed the connection: an operator asked for it' });
      this.world.in(3, (world) => world.come(peer));
      json(response, 200, { was_connected: true });
    }
  }
}

function json(response, status, body) {
  response.writeHead(status, { 'Content-Type': 'application/json' });
  response.end(JSON.stringify(body));
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const { values } = parseArgs({
    options: { scene: { type: 'string' }, port: { type: 'string' }, token: { type: 'string' } },
  });
  const mock = await Mock.start({ ...values, port: Number(values.port ?? 6580) });
  console.log(`${mock.url} shows the scene “${values.scene ?? 'connected'}” of ${Object.keys(SCENES).join(', ')}`);
}
