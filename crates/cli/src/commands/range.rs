//! `paddington range`: the addresses that a client connects from are changed. Its link stays as it is.

use serde::Serialize;

use crate::access::Access;
use crate::args::Range;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Serialize)]
struct Changed<'a> {
    peer: &'a str,
    range: &'a str,
}

pub(crate) async fn run(args: &Range, output: Output) -> Result<(), Failure> {
    Access::open().await?.set_range(&args.peer, &args.range).await?;
    let changed = Changed { peer: &args.peer, range: &args.range };
    output.print(&changed, |it| format!("{} may connect from {}", it.peer, it.range))
}
