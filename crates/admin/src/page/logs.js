// The last events and refusals, and the messages of links that are gone.

import { byId, make, timeElement } from './elements.js';
import { known } from './known.js';
import { bytes, count, counted, isNumber, plain, sentence } from './words.js';

const ALARMING = new Set([
  'duplicate',
  'burned_keys',
  'state_regressed',
  'undelivered',
  'dead_letter',
  'handling_stopped',
  'store_failed',
]);

/** Appends a text in which the name of a peer stands out; a name that is not in it comes before it. */
function appendNamed(body, text, name) {
  const at = text.indexOf(name);
  if (!name) body.append(text);
  else if (at < 0) body.append(make('b', '', name), ` ${text}`);
  else body.append(text.slice(0, at), make('b', '', name), text.slice(at + name.length));
}

const LOGS = {
  events: [
    'Nothing has happened since the service was started.',
    (event, body, item) => {
      item.classList.toggle('bad', ALARMING.has(event.kind));
      appendNamed(body, plain(event.text ?? event.kind), plain(event.peer));
      return event.at;
    },
  ],
  refusals: [
    'Nobody was refused.',
    (refusal, body) => {
      const times = refusal.count > 1 ? `, ${count(refusal.count)} times` : '';
      const head = make('p');
      head.append(make('b', '', plain(refusal.address)), make('span', 'soft', ` at ${plain(refusal.stage)}${times}`));
      body.append(
        head,
        make('p', '', sentence(refusal.cause)),
        make('p', 'soft', refusal.remedy ? `To do: ${plain(refusal.remedy)}` : ''),
      );
      return refusal.last;
    },
  ],
  orphans: [
    'Unknown: the store has not answered.',
    (orphan, body) => {
      body.append(
        make('b', '', plain(orphan.peer)),
        ` ${counted(orphan.messages, 'message')}, ${bytes(orphan.bytes)}, of the link ${plain(orphan.link)}`,
      );
      return null;
    },
  ],
};

export function showLogs() {
  byId('orphans-section').hidden = known.orphans?.length === 0;
  for (const [name, [nothing, fill]] of Object.entries(LOGS)) {
    const list = byId(name);
    if (list.shown === known[name]) continue;
    list.shown = known[name];
    const items = (known[name] ?? []).slice(0, 100).map((entry) => {
      const [item, body] = [make('li'), make('div')];
      const at = Date.parse(fill(entry, body, item));
      item.append(isNumber(at) ? timeElement(at) : make('span'), body);
      return item;
    });
    list.replaceChildren(...(items.length ? items : [make('li', 'empty', nothing)]));
    list.tabIndex = list.scrollHeight > list.clientHeight ? 0 : -1;
  }
}
