// Announcements for screen readers: few, and several in one.

import { byId, set } from './elements.js';
import { STATES, tally } from './known.js';
import { counted } from './words.js';

const waiting = { texts: [], states: [], timer: null };

/** Announces a text; texts come at most every five seconds, unless one is urgent. */
export function tell(text, urgent = false) {
  waiting.texts.push(text);
  if (urgent) announce();
  waiting.timer ??= setTimeout(announce, 5000);
}

export function tellState(peer) {
  waiting.states.push(peer);
  waiting.timer ??= setTimeout(announce, 5000);
}

function announce() {
  clearTimeout(waiting.timer);
  const peers = [...new Set(waiting.states)];
  const texts = waiting.texts.splice(0);
  waiting.states = [];
  waiting.timer = null;
  if (peers.length > 3) {
    texts.push(`${counted(peers.length, 'peer')} changed: ${tally(peers)}.`);
  } else {
    for (const peer of peers) texts.push(`${peer.shownName} is ${STATES[peer.state]}.`);
  }
  if (texts.length) set(byId('announcer'), texts.join(' '));
}
