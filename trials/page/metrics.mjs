// The metrics of a service, and the labels of each, without those that Prometheus adds.

const OF_A_PEER = [
  'connected',
  'outbox_messages',
  'outbox_oldest_seconds',
  'round_trip_seconds',
  'messages_accepted_total',
  'messages_handled_total',
  'messages_rejected_total',
  'received_handled_total',
  'received_failed_total',
  'dead_letters_total',
  'sessions_total',
];

export const METRICS = {
  paddington_ready: [],
  paddington_refusals_total: ['stage'],
  ...Object.fromEntries(OF_A_PEER.map((name) => [`paddington_peer_${name}`, ['peer']])),
};
