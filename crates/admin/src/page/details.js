// All that is known of one peer, and what can be done with it.

import { ChartRow } from './charts.js';
import { byId, make, set } from './elements.js';
import { known, link } from './known.js';
import { headers } from './stream.js';
import { bytes, clock, count, counted, dayOf, isNumber, plain, sentence, span, trip } from './words.js';

export function keysOf(peer, now) {
  const keys = peer.told.keys ?? {};
  const age = span((now - Date.parse(keys.since)) / 1000);
  if (!isNumber(keys.generation)) return keys.fixed ? 'fixed' : '–';
  return age === '–' ? `gen. ${keys.generation}` : `gen. ${keys.generation} · ${age}`;
}

const FIXED = {
  hex: 'fixed: the hex encoding cannot renew them',
  no_folder: 'fixed: the service has no folder of links to keep new ones in',
  peer: 'fixed: the peer does not renew them',
};

const DETAILS = [
  [
    'State',
    ({ told, since, never, foreign, place }) =>
      `${foreign ? place : never ? 'not connected yet' : `${told.state} since ${clock(since)}`}; ${told.dialled ? 'this side dials' : 'it dials'}`,
  ],
  ['Address', ({ told }) => plain(told.address ?? '')],
  ['URL', ({ told }) => plain(told.url ?? '')],
  ['Invited from', ({ told }) => plain(told.range ?? '')],
  ['Speaks', ({ told, software }) => [told.encoding, software].filter(Boolean).join(', ')],
  ['Round trip', (peer) => trip(peer.trip)],
  [
    'Waiting',
    ({ told: { outbox: waits } }) =>
      waits &&
      `${counted(waits.messages, 'message')}, ${bytes(waits.bytes)} ${waits.stored ? 'on disk' : 'in memory'}; ${count(waits.in_flight)} under way`,
  ],
  [
    'Not handled',
    ({ told: { inbox } }) => inbox && `${counted(inbox.messages, 'message')} of the peer, ${bytes(inbox.bytes)}`,
  ],
  [
    'Sent',
    ({ told: { sent } }) =>
      sent &&
      listed(
        { accepted: sent.accepted, handled: sent.handled },
        { rejected: sent.rejected, expired: sent.expired, 'too long': sent.too_long },
      ),
  ],
  [
    'Received',
    ({ told: { received } }) =>
      received &&
      listed({ handled: received.handled }, { failed: received.failed, 'dead letters': received.dead_letters }),
  ],
  [
    'Requests',
    ({ told: { requests } }) =>
      requests &&
      listed(
        { sent: requests.requested, 'without an answer': requests.waiting, 'to answer here': requests.unanswered },
        { failed: requests.failed, expired: requests.expired, cancelled: requests.cancelled },
      ),
  ],
  [
    'Keys',
    (peer, now) =>
      [keysOf(peer, now), FIXED[peer.told.keys?.fixed]].filter((part) => part && part !== 'fixed').join('; '),
  ],
  [
    'Invitation',
    ({ told: { keys } }) =>
      keys?.invitation &&
      `generation ${keys.invitation.generation} waits to be used${keys.invitation.expires ? `, until ${dayOf(Date.parse(keys.invitation.expires))}` : ''}`,
  ],
  ['Last error', ({ told: { last_error: error } }) => error && `${clock(Date.parse(error.at))}: ${plain(error.text)}`],
];

/** Lists numbers with their names; of the second ones, those that are not zero. */
function listed(always, rare) {
  const parts = [...Object.entries(always), ...Object.entries(rare).filter(([, number]) => number > 0)];
  return parts.map(([name, number]) => `${count(number)} ${name}`).join(', ');
}

export class Details {
  constructor(peer) {
    this.peer = peer;
    this.row = make('tr', 'details');
    const cell = make('td');
    cell.colSpan = 9;
    const facts = make('dl');
    this.facts = DETAILS.map(([label, value]) => {
      const pair = make('div');
      pair.append(make('dt', '', label), make('dd'));
      facts.append(pair);
      return { pair, value };
    });
    const box = make('div', 'chart-row');
    this.charts = new ChartRow(box, true);
    cell.append(facts, box, this.actions());
    this.row.append(cell);
  }

  show(now) {
    for (const { pair, value } of this.facts) {
      const text = value(this.peer, now) ?? '';
      pair.hidden = !text;
      set(pair.lastChild, text);
    }
    if (this.peer.track) this.charts.show(this.peer.track, this.peer.oldest(now));
    this.bar.hidden = !known.service.changes;
    for (const button of this.bar.querySelectorAll('button')) button.ariaDisabled = String(!this.canAct());
  }

  canAct() {
    return link.state === 'live' && this.peer.connected;
  }

  actions() {
    this.bar = make('div', 'actions');
    const [ping, end, result] = [make('button', '', 'Ping'), make('button', '', 'Disconnect …'), make('span', 'soft')];
    result.setAttribute('role', 'status');
    ping.onclick = () => this.canAct() && act(result, this.peer, 'ping', pinged);
    end.onclick = async () => {
      if (this.canAct() && (await confirmed(this.peer))) await act(result, this.peer, 'disconnect', ended);
    };
    for (const button of [ping, end]) button.type = 'button';
    this.bar.append(ping, end, result);
    return this.bar;
  }
}

const pinged = (answer) => `Round trip: ${trip(answer.round_trip_seconds)}`;
const ended = (answer) => (answer.was_connected ? 'It was disconnected.' : 'It was not connected any more.');

async function act(result, peer, path, words) {
  set(result, 'Asking the service …');
  try {
    const response = await fetch(`v1/peers/${encodeURIComponent(peer.name)}/${path}`, {
      method: 'POST',
      headers: headers(),
      signal: AbortSignal.timeout(30_000),
    });
    const answer = await response.json().catch(() => ({}));
    const { message, remedy } = answer.error ?? {};
    set(
      result,
      response.ok
        ? words(answer)
        : [message ?? `It answers with ${response.status}`, remedy].filter(Boolean).map(sentence).join(' '),
    );
  } catch {
    set(result, 'The service did not answer.');
  }
}

function confirmed(peer) {
  const dialog = byId('confirm');
  set(byId('confirm-question'), `Disconnect ${peer.shownName}?`);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((done) => {
    dialog.onclose = () => done(dialog.returnValue === 'yes');
  });
}
