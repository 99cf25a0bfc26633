//! The way in which the service is watched.

use std::io::{self, IsTerminal};

use paddington_admin::client::Client;

use super::{plain, screen};
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(client: Client, output: Output) -> Result<(), Failure> {
    if output.is_json() || !io::stdout().is_terminal() {
        plain::run(client, output).await
    } else {
        screen::run(client).await
    }
}
