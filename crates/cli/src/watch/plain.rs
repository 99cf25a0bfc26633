//! A line for each thing that happens, for logs and for other programs.

use paddington_admin::client::Client;

use super::update::Update;
use crate::commands::status;
use crate::failure::{Exit, Failure};
use crate::output::{Output, say};

pub(super) async fn run(client: Client, output: Output) -> Result<(), Failure> {
    let mut events = client.events("/v1/status/stream").await?;
    while let Some(event) = events.next().await? {
        match Update::read(&event.name, &event.data)? {
            Some(Update::Status(whole)) => output.print(&whole, |whole| status::text(whole))?,
            Some(Update::Event(entry)) => {
                output.print(&entry, |entry| format!("{}  {}", entry.at, entry.text))?;
            }
            Some(Update::Peers(peers)) if output.is_json() => {
                output.print(&peers, |_| String::new())?;
            }
            Some(Update::Peers(_)) | None => {}
        }
    }
    say("the service has ended")?;
    Err(Failure::new(Exit::NoService, "the service has ended"))
}
