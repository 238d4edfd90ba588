//! The search. It is breadth-first, so that it finds the shortest path to a violation.
//!
//! Visited states are stored as 64-bit fingerprints. Among n states, the probability that two have the same
//! fingerprint, so that one is missed, is about n²/2⁶⁵. For 10 million states it is 3 in 1,000,000.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

/// A model to search: its states, the steps out of each, and the invariants.
pub trait Model {
    type State: Copy + fmt::Display;

    fn start(&self) -> Self::State;

    /// Finds all steps out of `state`.
    fn find(&self, state: &Self::State, steps: &mut Found<Self::State>);

    /// Brings a state into its normal form.
    fn normalise(&self, state: &mut Self::State);

    /// Returns the violation in a state; `None` if there is none.
    fn violation(&self, state: &Self::State) -> Option<&'static str>;

    /// Checks a state that is not in normal form yet, if the normal form forgets something that must be checked.
    fn forgotten_violation(&self, _state: &Self::State) -> Option<&'static str> {
        None
    }

    /// Returns whether a participant is not finished, in a state without steps.
    fn is_stuck(&self, state: &Self::State) -> bool;

    /// Returns 64 bits that identify the state.
    fn fingerprint(&self, state: &Self::State) -> u64;

    fn is_weak(&self) -> bool;
}

/// A step of a participant, for the trace.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    pub who: char,
    pub index: usize,
    pub what: &'static str,
    /// What follows in the same step without another change of the store.
    pub then: &'static str,
}

/// The steps out of one state.
pub struct Found<S> {
    pub found: Vec<(Step, S)>,
    /// Whether a step was left out because the model has no room for another entry or pack.
    pub cut: bool,
}

impl<S> Default for Found<S> {
    fn default() -> Found<S> {
        Found { found: Vec::new(), cut: false }
    }
}

impl<S: Copy> Found<S> {
    fn of(&mut self, model: &impl Model<State = S>, state: &S) {
        self.found.clear();
        self.cut = false;
        model.find(state, self);
    }

    pub fn push(&mut self, who: char, index: usize, what: &'static str, state: S) {
        self.found.push((Step { who, index, what, then: "" }, state));
    }
}

/// The result of a search.
#[derive(Debug)]
pub struct Outcome {
    pub states: u64,
    pub transitions: u64,
    pub depth: u32,
    /// Number of states with a step for which the model had no room.
    pub cut: u64,
    pub memory_bytes: usize,
    pub time: Duration,
    pub violation: Option<&'static str>,
    /// One line for each step to the violation, if requested.
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

    /// Adds a fingerprint. Returns whether it is new.
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

    /// Returns the place that contains a fingerprint or is free for it.
    fn place(&mut self, fingerprint: u64) -> &mut u64 {
        let mask = self.places.len() - 1;
        let mut at = fingerprint as usize & mask;
        while self.places[at] != 0 && self.places[at] != fingerprint {
            at = (at + 1) & mask;
        }
        &mut self.places[at]
    }
}

/// Explores every state. Returns the number of states whose normal form a search of normal forms does not reach, and
/// the number of all states.
pub fn missed_normal_forms<M: Model>(model: &M, normal: &M) -> (u64, u64) {
    let mut forms = Seen::new();
    search_into(normal, false, &mut forms);
    let mut seen = Seen::new();
    let mut states = vec![model.start()];
    let mut steps = Found::default();
    let (mut missed, mut count) = (0, 0);
    while let Some(state) = states.pop() {
        let mut form = state;
        normal.normalise(&mut form);
        missed += u64::from(*forms.place(fingerprint(normal, &form)) == 0);
        count += 1;
        steps.of(model, &state);
        for (_, to) in &mut steps.found {
            model.normalise(to);
            if seen.insert(fingerprint(model, to)) {
                states.push(*to);
            }
        }
    }
    (missed, count)
}

/// Explores every state. With traces, this uses more memory and does not use normal forms.
pub fn search(model: &impl Model, traced: bool) -> Outcome {
    search_into(model, traced, &mut Seen::new())
}

/// Explores a model and prints the outcome. Prints how a weak one fails if the environment variable asks for it.
pub fn run<M: Model + fmt::Display>(model: &M) -> Outcome {
    let traced = std::env::var_os("ICECORE_MODEL_TRACE").is_some();
    let outcome = search(model, traced && model.is_weak());
    println!("{model}: {outcome}");
    for line in &outcome.trace {
        println!("    {line}");
    }
    outcome
}

/// Explores models completely, which must not have violations. Returns the number of states.
pub fn check_holds<M: Model + fmt::Display>(models: &[M]) -> u64 {
    let mut states = 0;
    for model in models {
        let outcome = run(model);
        assert_eq!(outcome.violation, None, "{model}");
        assert_eq!(outcome.cut, 0, "the model has room for {model}");
        states += outcome.states;
    }
    states
}

fn search_into<M: Model>(model: &M, traced: bool, seen: &mut Seen) -> Outcome {
    let begin = Instant::now();
    let mut start = model.start();
    model.normalise(&mut start);
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
    seen.insert(fingerprint(model, &start));
    let (mut level, mut next) = (vec![start], Vec::new());
    let mut steps = Found::default();
    'search: while !level.is_empty() {
        for state in &level {
            steps.of(model, state);
            outcome.cut += u64::from(steps.cut);
            outcome.transitions += steps.found.len() as u64;
            if steps.found.is_empty() && !steps.cut && model.is_stuck(state) {
                outcome.violation = Some("somebody can never go on");
                break 'search;
            }
            for (_, to) in &mut steps.found {
                let mut violation = None;
                if !traced {
                    violation = model.forgotten_violation(to);
                    model.normalise(to);
                }
                let print = fingerprint(model, to);
                if !seen.insert(print) && violation.is_none() {
                    continue;
                }
                outcome.states += 1;
                if traced {
                    parents.insert(print, fingerprint(model, state));
                }
                outcome.violation = violation.or_else(|| model.violation(to));
                if outcome.violation.is_some() {
                    outcome.depth += 1;
                    if traced {
                        outcome.trace = trace(model, &parents, print);
                    }
                    break 'search;
                }
                next.push(*to);
            }
        }
        let states = level.capacity() + next.capacity();
        let bytes = seen.places.len() * size_of::<u64>() + states * size_of::<M::State>();
        outcome.memory_bytes = outcome.memory_bytes.max(bytes);
        outcome.depth += u32::from(!next.is_empty());
        std::mem::swap(&mut level, &mut next);
        next.clear();
    }
    outcome.time = begin.elapsed();
    outcome
}

fn fingerprint<M: Model>(model: &M, state: &M::State) -> u64 {
    model.fingerprint(state).max(1)
}

/// Lists the steps to a state.
fn trace(model: &impl Model, parents: &HashMap<u64, u64>, end: u64) -> Vec<String> {
    let mut way = vec![end];
    while let Some(parent) = way.last().and_then(|last| parents.get(last)) {
        way.push(*parent);
    }
    let mut state = model.start();
    let mut lines = vec![format!("{:<56}{state}", "at first")];
    let mut steps = Found::default();
    for print in way.iter().rev().skip(1) {
        steps.of(model, &state);
        let found = steps.found.iter().find(|(_, to)| fingerprint(model, to) == *print);
        let (step, to) = found.expect("the search came this way");
        let what = format!("{}{} {}{}", step.who, step.index + 1, step.what, step.then);
        lines.push(format!("{what:<56}{to}"));
        state = *to;
    }
    lines
}
