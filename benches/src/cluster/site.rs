//! A service of two replicas, which are processes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use paddington::{Cluster, Encoding, ServiceConfig};
use tempfile::TempDir;

use super::database::Database;
use super::replica::configuration;
use crate::ours::{SERVER, SourceNetwork, client_name};
use crate::{Child, Role, free_port};

/// Two replicas and their database.
#[derive(Debug)]
pub struct Site {
    program: PathBuf,
    pub(super) folder: TempDir,
    ports: [u16; 2],
    pub(super) replicas: [Child; 2],
}

impl Site {
    /// Starts two replicas with so many peers, in an empty database. Files go into `folder`.
    ///
    /// # Errors
    ///
    /// If they cannot start.
    pub async fn open(
        program: &Path,
        folder: TempDir,
        database: &Database,
        peers: usize,
    ) -> Result<Self> {
        let ports = [free_port()?, free_port()?];
        configure(folder.path(), database.fresh().await?, ports, peers)?;
        let start = |port| start(program, folder.path(), port);
        let replicas = [start(ports[0]).await?, start(ports[1]).await?];
        Ok(Self { program: program.to_owned(), folder, ports, replicas })
    }

    /// The address of the second replica.
    pub(super) fn second(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.ports[1]).into()
    }

    /// Starts a replica in the place of one that has ended.
    pub(super) async fn replace(&mut self, place: usize) -> Result<()> {
        let replica = start(&self.program, self.folder.path(), self.ports[place]).await?;
        self.replicas[place] = replica;
        Ok(())
    }

    /// Ends the replicas.
    ///
    /// # Errors
    ///
    /// If one of them has failed.
    pub async fn close(self) -> Result<()> {
        for replica in self.replicas {
            replica.stop().await?;
        }
        Ok(())
    }
}

/// Writes the configuration of the replicas, and an invitation for each peer, with the URLs of both.
fn configure(folder: &Path, cluster: Cluster, ports: [u16; 2], peers: usize) -> Result<()> {
    let [first, second] = ports.map(|port| format!("ws://127.0.0.1:{port}"));
    let mut hub = ServiceConfig::new(SERVER, &first, "127.0.0.1", &ports[0])?;
    hub.set_fallback_urls(&[&second])?;
    hub.set_cluster(cluster)?;
    for peer in 0..peers {
        let range = SourceNetwork::numbered(peer).0.to_string();
        let invite = hub.add_client_with(&client_name(peer), &range, Encoding::Sealed)?;
        invite.save(folder.join(format!("{peer}.toml")))?;
    }
    Ok(hub.save(configuration(folder))?)
}

/// Starts a replica, and waits until it listens.
async fn start(program: &Path, folder: &Path, port: u16) -> Result<Child> {
    let mut child = Child::start(program, &Role::Replica(folder.to_owned(), port))?;
    let _listens: u16 = child.hear().await?;
    Ok(child)
}
