//! The steps of a writer: find or upload packs, compose, put, and look (spec section 6.3).
//!
//! Reading the log, composing and deciding are one step together with the step before them. This misses nothing,
//! because the slot is lost and the log is read again if it grows in between.

use super::rules::{Rules, Weakness};
use super::state::{Entry, Flight, PACKS_MAX, State, Writer, WriterAt};
use super::steps::{Put, Step, Steps, each, put};

impl Steps {
    pub(super) fn writer(&mut self, rules: &Rules, state: &State, index: usize, writer: Writer) {
        match writer.at {
            WriterAt::Start => self.writer_start(rules, state, index, writer),
            WriterAt::Upload => self.writer_upload(rules, state, index, writer),
            WriterAt::PutPacks | WriterAt::Put => self.writer_put(rules, state, index, writer),
            WriterAt::LookPacks | WriterAt::Look => self.writer_look(rules, state, index, writer),
            WriterAt::Done => {}
        }
        if writer.flight != Flight::default() {
            let mut late = *state;
            match rules.append(&mut late, writer.flight.entry) {
                Some(number) => {
                    if writer.flight.known {
                        late.writers[index].stored = number;
                    }
                    self.push('W', index, "the put arrives late", late);
                }
                None => self.cut = true,
            }
        }
        let running = !matches!(writer.at, WriterAt::Start | WriterAt::Done);
        if running && state.crashes > 0 {
            let mut crashed = *state;
            crashed.crashes -= 1;
            let flight = Flight { known: false, ..writer.flight };
            let fresh = Writer { flight, ..Writer::default() };
            self.push_writer(&crashed, index, "crashes, and forgets its packs", fresh);
            if writer.own != 0 {
                let fresh = Writer { own: writer.own, ..fresh };
                self.push_writer(&crashed, index, "crashes", fresh);
            }
        }
    }

    /// Looks for chunks in a catalog of any age.
    fn writer_start(&mut self, rules: &Rules, state: &State, index: usize, writer: Writer) {
        let usable = rules.once_alive(state.log());
        let added = state.log().iter().fold(0, |added, entry| added | entry.adds);
        let writer = Writer { own: writer.own & !added, ..writer };
        let with = |needs| Writer { needs: writer.own | needs, ..writer };
        let upload = |needs| Writer { at: WriterAt::Upload, ..with(needs) };
        for pack in each(usable) {
            self.compose(rules, state, index, "finds a pack", with(pack));
            if rules.new_data {
                self.push_writer(state, index, "finds a pack, has new data", upload(pack));
            }
        }
        if writer.own != 0 {
            self.compose(rules, state, index, "has packs already", with(0));
            let checkpoints = (1..=state.log_len).filter(|n| state.checkpoints >> n & 1 == 1);
            for opened in checkpoints.filter(|_| rules.is(Weakness::ForgetOrphans)) {
                let writer = Writer { opened, ..with(0) };
                self.compose(rules, state, index, "opens by a checkpoint, has packs", writer);
            }
        }
        if usable == 0 || rules.new_data {
            self.push_writer(state, index, "finds nothing", upload(0));
        }
    }

    fn writer_upload(&mut self, rules: &Rules, state: &State, index: usize, writer: Writer) {
        let mut after = *state;
        let pack = if rules.is(Weakness::ContentNames) {
            1
        } else if state.named < PACKS_MAX {
            after.named += 1;
            1 << state.named
        } else {
            self.cut = true;
            return;
        };
        after.present |= pack;
        let (needs, own) = (writer.needs | pack, writer.own | pack);
        self.compose(rules, &after, index, "uploads a pack", Writer { needs, own, ..writer });
    }

    /// Reads the log to its end and composes the entry, or looks for other packs.
    fn compose(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        what: &'static str,
        mut writer: Writer,
    ) {
        let mut view = rules.view(state.log());
        if writer.opened > 0 {
            let before = rules.view(&state.log[..usize::from(writer.opened)]);
            let added = state.log().iter().fold(0, |added, entry| added | entry.adds);
            view.dead &= !(before.dead & !added);
        }
        if !rules.is(Weakness::ContentNames) {
            writer.own &= !(view.alive | view.dead);
        }
        writer.head = state.log_len;
        writer.stored = 0;
        let mut push = |then, at, writer| {
            let mut state = *state;
            state.writers[index] = Writer { at, ..writer };
            self.found.push((Step { who: 'W', index, what, then }, state));
        };
        let dead = writer.needs & !(view.alive | writer.own);
        let looks = !rules.is(Weakness::NoRebase) && !rules.is(Weakness::Undelete);
        if dead != 0 && looks && !rules.blind() {
            writer.needs &= !dead;
            push(", must upload again", WriterAt::Upload, Writer { head: 0, ..writer });
            for pack in each(view.alive & !writer.needs) {
                let found = Writer { needs: writer.needs | pack, ..writer };
                push(", finds another pack, composes", WriterAt::Put, found);
            }
            return;
        }
        if rules.is(Weakness::TrimListed) && state.trimmed == state.log_len {
            writer.head = 0;
        }
        push(", composes", WriterAt::Put, writer);
        if rules.packs_first && writer.own != 0 {
            push(", composes packs alone", WriterAt::PutPacks, writer);
        }
    }

    fn writer_put(&mut self, rules: &Rules, state: &State, index: usize, writer: Writer) {
        let alone = writer.at == WriterAt::PutPacks;
        let needs = if alone { 0 } else { writer.needs };
        let entry = Entry { adds: writer.own, needs, ..Entry::default() };
        let look = if alone { WriterAt::LookPacks } else { WriterAt::Look };
        match put(rules, state, writer.head, writer.stored, entry) {
            Put::Created(created, number) => {
                self.writer_committed(rules, &created, index, "puts the entry", number);
                if state.lost == 0 || rules.blind() {
                    return;
                }
                let mut untold = created;
                untold.lost -= 1;
                untold.writers[index].at = look;
                untold.writers[index].stored = number;
                self.push('W', index, "puts the entry and is not told", untold);
                if writer.flight == Flight::default() {
                    let mut late = *state;
                    late.lost -= 1;
                    let flight = Flight { entry, known: true };
                    late.writers[index] = Writer { at: look, flight, ..writer };
                    if rules.is(Weakness::NoSecondLook) {
                        late.writers[index] = Writer { at: WriterAt::Done, ..Writer::default() };
                        late.gone = !alone;
                    }
                    self.push('W', index, "puts the entry, and it is not there yet", late);
                }
            }
            // The content of the slot never changes, so the look can follow immediately.
            Put::Taken => self.writer_look(rules, state, index, writer),
            Put::Full => self.cut = true,
        }
    }

    fn writer_look(&mut self, rules: &Rules, state: &State, index: usize, writer: Writer) {
        if writer.stored == writer.head + 1 {
            let what = "looks: its own bytes are there";
            self.writer_committed(rules, state, index, what, writer.stored);
        } else if state.log_len == writer.head {
            let alone = writer.at == WriterAt::LookPacks;
            let at = if alone { WriterAt::PutPacks } else { WriterAt::Put };
            self.push_writer(state, index, "looks: nothing is there", Writer { at, ..writer });
        } else {
            self.compose(rules, state, index, "looks: the slot is lost", writer);
        }
    }

    /// Handles an entry of the writer that is in the log and known to be there.
    fn writer_committed(
        &mut self,
        rules: &Rules,
        state: &State,
        index: usize,
        what: &'static str,
        number: u8,
    ) {
        let mut after = *state;
        let writer = state.writers[index];
        if matches!(writer.at, WriterAt::PutPacks | WriterAt::LookPacks) {
            let writer = Writer { needs: writer.needs, ..Writer::default() };
            self.compose(rules, &after, index, what, writer);
            return;
        }
        after.writers[index] = Writer { at: WriterAt::Done, ..Writer::default() };
        if rules.is(Weakness::NoCreateOnly) {
            after.acknowledged |= 1 << number;
        }
        self.push('W', index, what, after);
    }
}
