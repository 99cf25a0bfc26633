// The stream of the service, `GET /v1/status/stream`, which has three kinds of events. `status` is
// everything, as `GET /v1/status` gives it, and replaces all that was known. `peers` is
// `{"peers": [those that changed], "removed": [names]}` with any of `service`, `ready`, `refusals` and
// `orphans` that changed; orphans are null if the store has not said. `event` is one event. A line that
// begins with a colon shows that the service lives, and nothing else.
//
// `fetch` reads it and not `EventSource`, because TCP needs a token in the head of the request. The
// token is kept in memory only.

import { tell } from './announcements.js';
import { byId, set } from './elements.js';
import { known, link, sample, takeEvents, takeStatus, takeUpdate } from './known.js';

const SILENT = 20_000; // ms without a byte, after which the stream counts as lost
const DELAYS = [500, 1000, 2000, 4000]; // ms until the next attempt; the last one is repeated
const LONGEST_EVENT = 64 << 20; // characters of one event of the stream

let notify = () => {};

class Refused extends Error {}

export function headers() {
  return link.token === null ? {} : { Authorization: `Bearer ${link.token}` };
}

/** Follows the stream for ever, and calls `changed` with each change. */
export async function follow(changed) {
  notify = changed;
  for (let failures = 0; ; failures += 1) {
    try {
      await watch(() => (failures = 0));
      link.cause = 'The connection ended.';
    } catch (error) {
      link.cause = error.message;
      if (error instanceof Refused) {
        setLink(known.service ? 'lost' : 'connecting');
        await askForToken();
        continue;
      }
    }
    const delay = DELAYS[Math.min(failures, DELAYS.length - 1)] * (0.75 + Math.random() / 2);
    link.nextAt = Date.now() + delay;
    setLink('lost');
    await new Promise((wake) => {
      link.wake = wake;
      setTimeout(wake, delay);
    });
  }
}

/** Reads the stream until it ends. */
async function watch(established) {
  const silence = new AbortController();
  let timer = setTimeout(() => silence.abort(), SILENT);
  try {
    const options = {
      headers: { Accept: 'text/event-stream', ...headers() },
      cache: 'no-store',
      signal: silence.signal,
    };
    const response = await fetch('v1/status/stream', options).catch(() => {
      throw new Error('It does not answer.');
    });
    if (response.status === 401 || response.status === 403) throw new Refused();
    if (!response.ok) throw new Error(`It answers with ${response.status}.`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = '';
    for (;;) {
      const { value, done } = await reader.read().catch(() => {
        throw new Error(silence.signal.aborted ? 'Nothing arrives from it.' : 'The connection was lost.');
      });
      if (done) return;
      clearTimeout(timer);
      timer = setTimeout(() => silence.abort(), SILENT);
      link.heard = Date.now();
      text = takeText(text + value.replaceAll('\r', ''), established);
    }
  } finally {
    clearTimeout(timer);
    silence.abort();
  }
}

/** Takes the whole events at the beginning of a text, and returns the rest. */
function takeText(text, established) {
  let from = 0;
  for (let end; (end = text.indexOf('\n\n', from)) >= 0; from = end + 2) {
    const event = { name: 'message', data: '' };
    for (const line of text.slice(from, end).split('\n')) {
      if (line.startsWith('data:')) event.data += line.slice(5);
      if (line.startsWith('event:')) event.name = line.slice(6).trim();
    }
    if (event.data) takeEvent(event.name, parsed(event.data), established);
  }
  if (text.length - from > LONGEST_EVENT) throw new Error('It sends an event without an end.');
  return from ? text.slice(from) : text;
}

function parsed(data) {
  try {
    return JSON.parse(data);
  } catch {
    throw new Error('It sends something that is no JSON.');
  }
}

function takeEvent(name, data, established) {
  if (name === 'status') {
    takeStatus(data);
    established();
    setLink('live');
  } else if (name === 'peers' && known.service) {
    takeUpdate(data);
  } else if (name === 'event') {
    takeEvents([data, ...known.events]);
  }
  sample();
  notify();
}

function setLink(state) {
  const was = link.state;
  link.state = state;
  if (state === 'lost' && was === 'live') tell('The page is not connected to the service any more.', true);
  if (state === 'live' && was === 'lost') tell('The page is connected to the service again.', true);
  notify();
}

/** Shows the form for the token, and returns when there is one. */
async function askForToken() {
  const [form, input, wrong] = [byId('token-form'), byId('token'), byId('token-wrong')];
  set(wrong, link.token === null ? '' : 'The service does not accept this token.');
  wrong.hidden = link.token === null;
  form.hidden = false;
  input.focus();
  await new Promise((submitted) => {
    form.onsubmit = (event) => {
      event.preventDefault();
      submitted();
    };
  });
  link.token = input.value.trim();
  input.value = '';
  form.hidden = true;
}
