//! The search: breadth first, so that what is found first is the shortest way to trouble.
//!
//! Seen states are remembered by 64-bit fingerprints. Among n states the chance that any two share
//! one, and a state is missed, is about n²/2⁶⁵: 3 in 1,000,000 for 10 million states.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::rules::Rules;
use super::state::{PrunerAt, State, WriterAt};
use super::steps::Steps;

/// What a search found.
#[derive(Debug)]
pub struct Outcome {
    pub states: u64,
    pub transitions: u64,
    pub depth: u32,
    /// States with a step that the model had no room for.
    pub cut: u64,
    pub memory_bytes: usize,
    pub time: Duration,
    pub violation: Option<&'static str>,
    /// One line for each step to it, if asked for.
    pub trace: Vec<String>,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Outcome { states, transitions, depth, cut, .. } = self;
        let (seconds, mb) = (self.time.as_secs_f64(), self.memory_bytes / 1_000_000);
        write!(f, "{states} states, {transitions} transitions, depth {depth}, ")?;
        write!(f, "{seconds:.1} s, {mb} MB, {cut} cut, {}", self.violation.unwrap_or("holds"))
    }
}

/// A set of fingerprints; 0 marks a free place.
struct Seen {
    places: Vec<u64>,
    count: usize,
}

impl Seen {
    fn new() -> Seen {
        Seen { places: vec![0; 1 << 16], count: 0 }
    }

    /// Returns whether it is new.
    fn insert(&mut self, fingerprint: u64) -> bool {
        if self.count * 4 >= self.places.len() * 3 {
            let larger = vec![0; self.places.len() * 2];
            for fingerprint in std::mem::replace(&mut self.places, larger) {
                if fingerprint != 0 {
                    *self.place(fingerprint) = fingerprint;
                }
            }
        }
        let place = self.place(fingerprint);
        if *place != 0 {
            return false;
        }
        *place = fingerprint;
        self.count += 1;
        true
    }

    /// Returns the place that holds it or is free for it.
    fn place(&mut self, fingerprint: u64) -> &mut u64 {
        let mask = self.places.len() - 1;
        let mut at = fingerprint as usize & mask;
        while self.places[at] != 0 && self.places[at] != fingerprint {
            at = (at + 1) & mask;
        }
        &mut self.places[at]
    }
}

/// Explores every state. Returns how many have a normal form that a search of normal forms alone does
/// not come to, and how many there are.
pub fn missed_normal_forms(rules: &Rules) -> (u64, u64) {
    let normal = Rules { forget: true, ..*rules };
    let mut forms = Seen::new();
    search_into(&normal, false, &mut forms);
    let mut seen = Seen::new();
    let mut states = vec![rules.start()];
    let mut steps = Steps::default();
    let (mut missed, mut count) = (0, 0);
    while let Some(state) = states.pop() {
        let mut form = state;
        normal.normalise(&mut form);
        missed += u64::from(*forms.place(fingerprint(&form)) == 0);
        count += 1;
        steps.find(rules, &state);
        for (_, to) in &mut steps.found {
            rules.normalise(to);
            if seen.insert(fingerprint(to)) {
                states.push(*to);
            }
        }
    }
    (missed, count)
}

/// Explores every state. Traces cost memory and tell participants apart.
pub fn search(rules: &Rules, traced: bool) -> Outcome {
    search_into(rules, traced, &mut Seen::new())
}

fn search_into(rules: &Rules, traced: bool, seen: &mut Seen) -> Outcome {
    let begin = Instant::now();
    let mut start = rules.start();
    rules.normalise(&mut start);
    let mut parents = HashMap::new();
    let mut outcome = Outcome {
        states: 1,
        transitions: 0,
        depth: 0,
        cut: 0,
        memory_bytes: 0,
        time: Duration::ZERO,
        violation: None,
        trace: Vec::new(),
    };
    seen.insert(fingerprint(&start));
    let (mut level, mut next) = (vec![start], Vec::new());
    let mut steps = Steps::default();
    'search: while !level.is_empty() {
        for state in &level {
            steps.find(rules, state);
            outcome.cut += u64::from(steps.cut);
            outcome.transitions += steps.found.len() as u64;
            if steps.found.is_empty() && !steps.cut && is_stuck(state) {
                outcome.violation = Some("somebody can never go on");
                break 'search;
            }
            for (_, to) in &mut steps.found {
                // Of what follows, the check of a checkpoint alone may look at what is forgotten.
                let mut violation = None;
                if !traced {
                    if rules.forget && to.checkpoints != 0 {
                        violation = rules.violation(to);
                    }
                    rules.normalise(to);
                }
                let print = fingerprint(to);
                if !seen.insert(print) && violation.is_none() {
                    continue;
                }
                outcome.states += 1;
                if traced {
                    parents.insert(print, fingerprint(state));
                }
                outcome.violation = violation.or_else(|| rules.violation(to));
                if outcome.violation.is_some() {
                    outcome.depth += 1;
                    if traced {
                        outcome.trace = trace(rules, &parents, print);
                    }
                    break 'search;
                }
                next.push(*to);
            }
        }
        let states = level.capacity() + next.capacity();
        let bytes = seen.places.len() * size_of::<u64>() + states * size_of::<State>();
        outcome.memory_bytes = outcome.memory_bytes.max(bytes);
        outcome.depth += u32::from(!next.is_empty());
        std::mem::swap(&mut level, &mut next);
        next.clear();
    }
    outcome.time = begin.elapsed();
    outcome
}

fn fingerprint(state: &State) -> u64 {
    state.fingerprint().max(1)
}

/// Nobody has a step left, and somebody is not at the end.
fn is_stuck(state: &State) -> bool {
    state.writers.iter().any(|writer| writer.at != WriterAt::Done)
        || state.pruners.iter().any(|pruner| pruner.at != PrunerAt::Done)
}

/// Tells the way to a state.
fn trace(rules: &Rules, parents: &HashMap<u64, u64>, end: u64) -> Vec<String> {
    let mut way = vec![end];
    while let Some(parent) = way.last().and_then(|last| parents.get(last)) {
        way.push(*parent);
    }
    let mut state = rules.start();
    let mut lines = vec![format!("{:<56}{state}", "at first")];
    let mut steps = Steps::default();
    for print in way.iter().rev().skip(1) {
        steps.find(rules, &state);
        let found = steps.found.iter().find(|(_, to)| fingerprint(to) == *print);
        let (step, to) = found.expect("the search came this way");
        let what = format!("{}{} {}{}", step.who, step.index + 1, step.what, step.then);
        lines.push(format!("{what:<56}{to}"));
        state = *to;
    }
    lines
}
