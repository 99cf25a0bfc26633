// The metrics of a service, and the labels of each, without those that Prometheus adds.

const OF_A_PEER = [
  'connected',
  'outbox_messages',
  'outbox_oldest_seconds',
  'round_trip_seconds',
  'messages_accepted_total',
  'messages_handled_total',
  'messages_rejected_total',
  'messages_expired_total',
  'messages_too_long_total',
  'received_handled_total',
  'received_failed_total',
  'dead_letters_total',
  'sessions_total',
];

// Those that only one of several replicas has.
export const OF_A_REPLICA = [
  'paddington_lease_seconds',
  'paddington_links_owned',
  'paddington_links_claimed_total',
  'paddington_links_yielded_total',
  'paddington_links_deposed_total',
];

export const METRICS = {
  paddington_ready: [],
  paddington_refusals_total: ['stage'],
  ...Object.fromEntries(OF_A_PEER.map((name) => [`paddington_peer_${name}`, ['peer']])),
  ...Object.fromEntries(OF_A_REPLICA.map((name) => [name, []])),
};
