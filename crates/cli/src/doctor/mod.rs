//! `paddington doctor`: why a link does not come up, and what to do.

use crate::args::Doctor;
use crate::failure::Failure;
use crate::output::Output;

pub(crate) async fn run(_args: &Doctor, _output: Output) -> Result<(), Failure> {
    Ok(())
}
