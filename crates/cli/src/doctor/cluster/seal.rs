//! How everything in a database is sealed, and whether a change of that has ended.

use paddington::database_report::{ConversionState, Seal, StoreState};

use super::super::report::Check;
use super::checks::Subject;

const CHECK: &str = "seal";

/// Nothing, as long as the database does not say how it is sealed.
pub(super) fn check(store: &StoreState, subject: &Subject<'_>) -> Option<Check> {
    if let Some(conversion) = store.conversion {
        return Some(not_ended(conversion, subject));
    }
    let text = format!("what is in the schema {} is {}", subject.cluster.schema(), store.seal?);
    Some(subject.passed(CHECK, &text))
}

fn not_ended(conversion: ConversionState, subject: &Subject<'_>) -> Check {
    let schema = subject.cluster.schema();
    if conversion.is_running {
        let text =
            format!("what is in the schema {schema} is being sealed anew, and no replica starts");
        return subject.warning(CHECK, "seal_running", &text, "Wait for its end.");
    }
    let (what, remedy) = match conversion.to {
        Seal::Plain => (
            "written as it was before it was sealed".to_owned(),
            "Run the same command again, where the keyring is: paddington at-rest unseal",
        ),
        Seal::Key(key) => (
            format!("sealed under the key {key:016x}"),
            "Run the same command again, where the keyring with that key is: paddington at-rest rekey, or seal; after a \
             rekey with another secret, seal.",
        ),
    };
    let text = format!(
        "what is in the schema {schema} was being {what} when that was interrupted, and no replica starts before its end"
    );
    subject.failed(CHECK, "seal_interrupted", &text, remedy)
}
