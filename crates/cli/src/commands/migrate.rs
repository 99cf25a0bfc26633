//! `paddington migrate`: makes the tables that the replicas of a service share.

use serde::Serialize;

use crate::args::Migrate;
use crate::failure::{Exit, Failure};
use crate::layers::{self, Overrides};
use crate::output::Output;

/// What was done.
#[derive(Serialize)]
struct Done {
    databases: usize,
    restored: bool,
}

pub(crate) async fn run(args: &Migrate, output: Output) -> Result<(), Failure> {
    let (config, _) = layers::load(&Overrides::default())?;
    let Some(cluster) = config.cluster() else {
        return Err(Failure::new(
            Exit::Files,
            "service.toml has no table [cluster], which says where the database is",
        )
        .with_remedy("docs/cluster.md shows it."));
    };
    let databases = cluster.databases().count();
    config.migrate_cluster().await.map_err(|error| Failure::of(Exit::No, &error))?;
    if args.restored {
        config.restored_cluster().await.map_err(|error| Failure::of(Exit::No, &error))?;
    }
    output.print(&Done { databases, restored: args.restored }, |done| {
        let tables = match done.databases {
            1 => "The tables are there, and up to date.".to_owned(),
            many => format!("The tables are there in {many} databases, and up to date."),
        };
        let restored =
            "\nWhat is accepted from now on is not mistaken for what the copy has forgotten.";
        tables + if done.restored { restored } else { "" }
    })
}
