//! The schema of a service: whether it is there, and is the right one.

use paddington::database_report::{SchemaState, StoreState};

use super::super::report::Check;
use super::checks::Subject;

const CHECK: &str = "schema";
/// Number of tables that are named.
const NAMED: usize = 5;

pub(super) fn check(found: &SchemaState, subject: &Subject<'_>) -> Check {
    let schema = subject.cluster.schema();
    let grants = format!(
        "As its owner: GRANT USAGE ON SCHEMA {schema} TO ROLE; GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO ROLE; \
         GRANT ALL ON ALL SEQUENCES IN SCHEMA {schema} TO ROLE;"
    );
    let failed = |code, text: String, remedy: &str| subject.failed(CHECK, code, &text, remedy);
    match found {
        SchemaState::Missing { may_create: true } => failed(
            "schema_missing",
            format!("the tables are not in the schema {schema} yet"),
            "Run: paddington migrate",
        ),
        SchemaState::Missing { may_create: false } => failed(
            "schema_missing",
            format!("the tables are not in the schema {schema}, and the role may not make them"),
            "Run `paddington migrate` with a role that may, or let this one: GRANT CREATE ON DATABASE.",
        ),
        SchemaState::Closed => {
            failed("database_rights", format!("the role may not use the schema {schema}"), &grants)
        }
        SchemaState::NotGranted(names) => {
            let named = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMED { ", …" } else { "" };
            let text = format!(
                "the role may not read and write all of the schema {schema}: {named}{more}"
            );
            failed("database_rights", text, &grants)
        }
        SchemaState::Foreign => failed(
            "schema_foreign",
            format!("the schema {schema} holds something else"),
            "Name another one: schema in [cluster].",
        ),
        SchemaState::OtherService => failed(
            "schema_of_another",
            format!("the schema {schema} belongs to a service with another name"),
            "Give each service a schema or a database of its own: schema in [cluster]; or correct name.",
        ),
        SchemaState::OtherFormat { found, known } => failed(
            "schema_format",
            format!(
                "the schema {schema} has format {found}, and this version knows format {known} only"
            ),
            if found < known {
                "Run: paddington migrate"
            } else {
                "Update this command to the version of the replicas."
            },
        ),
        SchemaState::Store(store) => store_of(store, subject),
        _ => Check::unknown(
            CHECK,
            format!("{}what is in the schema {schema} is not known", subject.name),
        ),
    }
}

/// Checks the database's place in the list, as long as it matters.
fn store_of(store: &StoreState, subject: &Subject<'_>) -> Check {
    let schema = subject.cluster.schema();
    let (number, of) = subject.list;
    let was =
        store.list.map(|(number, of)| (usize::try_from(number).ok(), usize::try_from(of).ok()));
    match was.filter(|was| store.links > 0 && *was != (Some(number), Some(of))) {
        Some((Some(was_number), Some(was_of))) => {
            let text = format!(
                "it is number {number} of {of} in databases, and has links from when it was number {was_number} of {was_of}"
            );
            subject.failed(
                CHECK,
                "database_list",
                &text,
                "Write the list in service.toml as it was.",
            )
        }
        _ => subject.passed(
            CHECK,
            &format!("the tables are in the schema {schema}, and the role may use them"),
        ),
    }
}
