//! Messages and requests through the local API: two services in one process, over a memory network,
//! and the API over a Unix socket.

mod bodies;
mod consuming;
mod leases;
mod replying;
mod restarts;
mod sending;
mod side;
