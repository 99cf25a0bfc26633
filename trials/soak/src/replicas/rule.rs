//! Rules of replicas (`docs/cluster.md` §3) that can be left out, each by a change of functions in the database of a
//! trial: the replicas themselves are those of everybody.

use anyhow::{Error, ensure};
use paddington_test_support::PostgresServer;

use super::fault::Fault;
use super::verdict::Breach;

/// A rule that is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// S10: a claim enters the lane although a call keeps it.
    Lane,
    /// S2 and S7: a replica is taken for dead while it takes itself for alive, and no fence is checked.
    ///
    /// Without the fence alone nothing comes twice here: a replica whose lease is over begins no call, and what
    /// else it writes late does no harm while acknowledgements reach the peers.
    Fence,
    /// S13: a cursor is stored before the handler is done.
    Cursor,
}

/// A function, a part of its text, and what takes the place of that.
type Edit = (&'static str, &'static str, &'static str);

impl Rule {
    pub(super) const EACH: [Self; 3] = [Self::Lane, Self::Fence, Self::Cursor];

    /// The name of the schema in which it is left out.
    pub(super) fn schema(self) -> &'static str {
        match self {
            Self::Lane => "without_lane",
            Self::Fence => "without_fence",
            Self::Cursor => "without_cursor",
        }
    }

    /// What has to go wrong, so that it is missed.
    pub(super) fn fault(self) -> Fault {
        match self {
            Self::Lane | Self::Cursor => Fault::Move,
            Self::Fence => Fault::ShortPause,
        }
    }

    /// What has to be seen then.
    pub(super) fn breach(self) -> Breach {
        match self {
            Self::Lane | Self::Fence => Breach::Needless,
            Self::Cursor => Breach::Lost,
        }
    }

    fn edits(self) -> &'static [Edit] {
        match self {
            Self::Lane => &[(
                "claim",
                "has_lane := l.lane_owner IS NULL",
                "has_lane := true OR l.lane_owner IS NULL",
            )],
            Self::Fence => &[
                ("alive", "- r.lease * interval", "- r.lease * 3 / 8 * interval"),
                ("lanes", " AND l.lane = u.lane AND l.lane_owner = a_replica", ""),
                ("advance", " AND l.fence = u.fence AND l.owner = a_replica", ""),
                ("take_lane", " AND k.fence = a_fence AND k.owner = a_replica", ""),
            ],
            Self::Cursor => &[("handled", "c.inc, c.done, c_held", "c.inc, c.done + 5, c_held")],
        }
    }

    /// Leaves the rule out in its schema, which has the tables already.
    pub(super) fn leave_out(self, database: &PostgresServer) -> Result<(), Error> {
        let schema = self.schema();
        for (function, before, after) in self.edits() {
            let text = format!("pg_get_functiondef('{schema}.{function}'::regproc)");
            let changes = format!(
                "DO $do$ BEGIN PERFORM set_config('search_path', '{schema}', true); \
                 EXECUTE replace({text}, $part${before}$part$, $part${after}$part$); END $do$"
            );
            let has_it = |part: &str| format!("SELECT position($part${part}$part$ IN {text}) > 0");
            ensure!(database.sql(&has_it(before)) == "t", "{function} does not read {before:?}");
            database.sql(&changes);
            ensure!(
                after.is_empty() || database.sql(&has_it(after)) == "t",
                "{function} was not changed"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = concat!(
        include_str!("../../../../crates/store-postgres/src/schema/tables.sql"),
        include_str!("../../../../crates/store-postgres/src/schema/messages.sql"),
        include_str!("../../../../crates/store-postgres/src/schema/links.sql"),
    );

    #[test]
    fn a_rule_is_where_it_is_left_out() {
        for (function, before, after) in Rule::EACH.iter().flat_map(|rule| rule.edits()) {
            let from = SCHEMA.split(&format!("CREATE FUNCTION {function}(")).nth(1).unwrap();
            let body = from.split("CREATE FUNCTION").next().unwrap();
            assert!(body.contains(before), "{function}: {before}");
            assert!(!body.contains(after) || after.is_empty(), "{function}: {after}");
        }
    }
}
