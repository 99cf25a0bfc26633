//! The effect of each event of a disk: a small form of the driver that the product has in its
//! exchange.

use paddington_wire::MessageId;
use paddington_wire::link::Outcome;

use crate::disk::{Answer, Lazy};
use crate::ledger::{Breach, Ledger, Standing};
use crate::scenario::{Sabotage, Scenario};
use crate::side::payload;
use crate::world::World;

impl World {
    pub(crate) fn gather(&mut self, index: usize) -> bool {
        let (side, theirs) = (&mut self.sides[index], &self.ledgers[1 - index]);
        let Some(disk) = &mut side.disk else { return false };
        disk.lazy.extend(side.link.take_trims().into_iter().map(Lazy::Trim));
        disk.lazy.extend(side.link.take_mark().map(Lazy::Mark));
        let changes = side.link.take_cursors();
        disk.lazy.extend(changes.moved.into_iter().map(|cursor| {
            let finished = finished(theirs, cursor.instance);
            Lazy::Cursor(cursor, finished)
        }));
        disk.lazy.extend(changes.forgotten.into_iter().map(Lazy::Forget));
        !disk.lazy.is_empty()
    }

    pub(crate) fn commit_append(
        &mut self,
        index: usize,
        scenario: &Scenario,
    ) -> Result<bool, Breach> {
        let side = &mut self.sides[index];
        let Some(disk) = &mut side.disk else { return Ok(false) };
        let Some(next) = disk.appends.front() else { return Ok(false) };
        if scenario.sabotage == Some(Sabotage::WrittenOnlyWhileWaiting)
            && side.link.outcome(next.id) != Outcome::Waiting
        {
            disk.answers.push_back(Answer::Stored(next.id, next.mark));
            disk.appends.pop_front();
        } else if let Some(label) = disk.commit_append() {
            self.ledgers[index].entries[usize::from(label)].stored = true;
        }
        self.hear_at_once(index, scenario)?;
        Ok(true)
    }

    pub(crate) fn commit_lazy(
        &mut self,
        index: usize,
        scenario: &Scenario,
    ) -> Result<bool, Breach> {
        let Some(disk) = &mut self.sides[index].disk else { return Ok(false) };
        let committed = disk.commit_lazy();
        self.hear_at_once(index, scenario)?;
        Ok(committed)
    }

    pub(crate) fn fail_disk(&mut self, index: usize, scenario: &Scenario) -> Result<bool, Breach> {
        self.left.failures[index] -= 1;
        if let Some(disk) = &mut self.sides[index].disk {
            disk.fail();
        }
        self.hear_at_once(index, scenario)?;
        Ok(true)
    }

    /// Passes on a disk's answers at once, where they are not to come late.
    pub(crate) fn hear_at_once(&mut self, index: usize, scenario: &Scenario) -> Result<(), Breach> {
        while !scenario.late_answers && self.answer(index, scenario)? {}
        Ok(())
    }

    pub(crate) fn answer(&mut self, index: usize, scenario: &Scenario) -> Result<bool, Breach> {
        let side = &mut self.sides[index];
        let Some(disk) = &mut side.disk else { return Ok(false) };
        let Some(answer) = disk.answers.pop_front() else { return Ok(false) };
        match answer {
            Answer::Stored(id, mark) => {
                side.link.stored(id.number);
                mark.into_iter().for_each(|number| side.link.marked(MessageId { number, ..id }));
                self.stands(index, id, Standing::Accepted)?;
            }
            Answer::Trimmed(id) => side.link.trimmed(id),
            Answer::Marked(id) => side.link.marked(id),
            Answer::Refused(id) => {
                if scenario.sabotage != Some(Sabotage::RefusedButQueued) {
                    side.link.unstored();
                }
                disk.failing = false;
                for id in [vec![id], disk.take_refused()].concat() {
                    self.stands(index, id, Standing::Refused)?;
                }
            }
        }
        Ok(true)
    }

    pub(crate) fn read(&mut self, index: usize) -> bool {
        let side = &mut self.sides[index];
        let Some(id) = side.link.wanted() else { return false };
        let label = side.disk.as_ref().and_then(|disk| disk.read(id));
        if let Some(label) = label {
            side.link.supply(id, payload(label));
        }
        label.is_some()
    }

    pub(crate) fn copy(&mut self, index: usize) -> bool {
        if let Some(disk) = &mut self.sides[index].disk {
            disk.copy = Some(Box::new(disk.durable.clone()));
        }
        true
    }

    fn stands(&mut self, index: usize, id: MessageId, standing: Standing) -> Result<(), Breach> {
        let asked = |label: &u8| {
            self.ledgers[index].entries[usize::from(*label)].standing == Standing::Asked
        };
        match self.ledgers[index].label(id).filter(asked) {
            Some(label) => self.ledgers[index].stands(label, standing),
            None => Ok(()),
        }
    }
}

/// The labels of a stream that the present instance of the receiver knows to be finished.
fn finished(ledger: &Ledger, stream: paddington_wire::Instance) -> u32 {
    let labels = ledger.entries.iter().enumerate();
    let finished = labels.filter(|(_, entry)| {
        entry.id.stream == stream && (entry.finished_here || entry.known_finished)
    });
    finished.fold(0, |labels, (label, _)| labels | 1 << label)
}
