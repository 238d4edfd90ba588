//! A store that executes the operations of several hosts one at a time, in an order drawn from a
//! seed, and makes one of them go wrong.
//!
//! A host is a thread that may start others. Each operation waits here until every running host has
//! one waiting; then one of them is drawn and executed. So the order does not depend on the speed
//! of the hosts, except for the order in which the threads of one host arrive.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, stream};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    Attributes, Error, GetOptions, GetResult, GetResultPayload, ObjectMeta, ObjectStore,
    ObjectStoreExt, PutMode, PutOptions, PutPayload, PutResult, Result,
};

use super::random::Random;

/// The operations of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Get,
    List,
    Put,
    Delete,
}

/// What goes wrong with one operation. If the host *dies*, no answer reaches it, and none of its
/// later operations is executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Not executed; the host dies.
    Before,
    /// Executed; the host dies before the answer.
    AnswerLost,
    /// A body that breaks off half-way, or half an object under a temporary name, as in a folder;
    /// the host dies.
    Torn,
    /// The host dies; executed later, after operations of others.
    Late,
    /// Executed; the host dies; executed again later.
    TwiceLater,
    /// Executed twice in a row; the host gets the second answer and lives.
    Twice,
    /// Executed and answered, and executed again later; the host lives.
    Again,
    /// Executed, and the connection is lost before the answer; the host lives.
    Unanswered,
    /// The connection is lost, and the operation is executed later; the host lives.
    UnansweredLate,
}

impl Fault {
    pub const ALL: [Fault; 9] = [
        Fault::Before,
        Fault::AnswerLost,
        Fault::Torn,
        Fault::Late,
        Fault::TwiceLater,
        Fault::Twice,
        Fault::Again,
        Fault::Unanswered,
        Fault::UnansweredLate,
    ];

    /// Returns whether this fault affects such an operation in a way that no other fault does.
    pub fn fits(self, verb: Verb) -> bool {
        match verb {
            Verb::Put => true,
            // A second delete has the same answer as the first.
            Verb::Delete => !matches!(self, Fault::Torn | Fault::Twice),
            Verb::Get => matches!(self, Fault::Before | Fault::Torn | Fault::Unanswered),
            Verb::List => matches!(self, Fault::Before | Fault::Unanswered),
        }
    }

    /// Returns whether the host dies.
    pub fn kills(self) -> bool {
        self <= Fault::TwiceLater
    }
}

/// Which operation of a host goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Counted from 0.
    Number(usize),
    /// The first operation of this kind whose object has a name that begins like this.
    First(Verb, &'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Point {
    pub host: usize,
    pub at: At,
    pub fault: Fault,
}

/// The objects, and the order of the operations on them.
pub struct Bucket {
    objects: InMemory,
    state: Mutex<State>,
    wake: Condvar,
}

struct State {
    random: Random,
    /// How often, out of four times, the host that has just had its turn gets the next one too. So
    /// between two steps of one host, another may do one step or all of them.
    goes_on_of_4: u64,
    last: usize,
    point: Option<Point>,
    hosts: Vec<Waiting>,
    tickets: u64,
    /// The operation that may run now.
    turn: Option<u64>,
    late: Vec<Late>,
    /// The fault that happened, and the operation.
    fired: Option<(Fault, Verb)>,
    trace: Vec<Done>,
}

/// The state of one host in the bucket.
#[derive(Default)]
struct Waiting {
    running: bool,
    dead: bool,
    tickets: VecDeque<u64>,
    verbs: Vec<Verb>,
}

/// An operation that will arrive after some more operations.
struct Late {
    after: u64,
    operation: Operation,
}

struct Done {
    host: usize,
    verb: Verb,
    name: String,
    note: String,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { host, verb, name, note } = self;
        write!(f, "{} {verb:?} {name}{note}", ["A", "B", "C", "late"][*host])
    }
}

/// Marks operations without a host in the trace; hosts have smaller numbers.
const NOBODY: usize = 3;

#[derive(Clone)]
pub enum Operation {
    Put(Path, PutPayload, Attributes),
    Delete(Path),
    Get(Path, GetOptions),
    List(Option<Path>),
}

pub enum Answer {
    Put(PutResult),
    Get(Box<GetResult>),
    List(Vec<ObjectMeta>),
    Deleted,
}

impl Operation {
    fn verb(&self) -> Verb {
        match self {
            Operation::Put(..) => Verb::Put,
            Operation::Delete(_) => Verb::Delete,
            Operation::Get(..) => Verb::Get,
            Operation::List(_) => Verb::List,
        }
    }

    fn name(&self) -> String {
        match self {
            Operation::Put(path, ..) | Operation::Delete(path) | Operation::Get(path, _) => {
                path.to_string()
            }
            Operation::List(prefix) => prefix.clone().unwrap_or_default().to_string(),
        }
    }
}

impl Bucket {
    pub fn new(objects: InMemory, seed: u64) -> Arc<Bucket> {
        let mut random = Random::new(seed);
        let state = State {
            goes_on_of_4: random.below(4),
            last: 0,
            random,
            point: None,
            hosts: Vec::new(),
            tickets: 0,
            turn: None,
            late: Vec::new(),
            fired: None,
            trace: Vec::new(),
        };
        Arc::new(Bucket { objects, state: Mutex::new(state), wake: Condvar::new() })
    }

    /// Begins a run of some hosts, one of which may have trouble.
    pub fn begin(&self, running: &[usize], point: Option<Point>) {
        let mut state = self.lock();
        let waiting = |host| Waiting { running: running.contains(&host), ..Waiting::default() };
        state.hosts = (0..NOBODY).map(waiting).collect();
        (state.point, state.fired) = (point, None);
    }

    /// Returns a copy of the objects.
    pub fn objects(&self) -> InMemory {
        self.objects.fork()
    }

    /// Records that a host has ended, so that no other waits for its next operation.
    pub fn ends(&self, host: usize) {
        let mut state = self.lock();
        state.hosts[host].running = false;
        state.draw();
        self.wake.notify_all();
    }

    /// Executes all operations that are still in progress.
    pub fn settle(&self) {
        let mut state = self.lock();
        for late in std::mem::take(&mut state.late) {
            self.arrive(&mut state, late.operation);
        }
    }

    /// Returns the fault that happened, and the operation, if any.
    pub fn fired(&self) -> Option<(Fault, Verb)> {
        self.lock().fired
    }

    /// Returns the operations of each host.
    pub fn verbs(&self) -> Vec<Vec<Verb>> {
        self.lock().hosts.iter().map(|host| host.verbs.clone()).collect()
    }

    /// Returns a readable list of all executed operations.
    pub fn trace(&self) -> String {
        self.lock().trace.iter().map(|done| format!("{done}\n")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics here")
    }

    /// Waits for a turn of this host, and executes the operation or its fault.
    pub fn operate(&self, host: usize, operation: Operation) -> Result<Answer> {
        let mut state = self.lock();
        if state.hosts[host].dead {
            return Err(lost());
        }
        let ticket = state.tickets;
        state.tickets += 1;
        state.hosts[host].tickets.push_back(ticket);
        if state.draw() && state.turn != Some(ticket) {
            self.wake.notify_all();
        }
        while state.turn != Some(ticket) {
            state = self.wake.wait(state).expect("nothing panics here");
            if state.hosts[host].dead {
                return Err(lost());
            }
        }
        let verb = operation.verb();
        let at = state.hosts[host].verbs.len();
        state.hosts[host].verbs.push(verb);
        let fault = state.point.filter(|point| point.host == host && state.fired.is_none());
        let fault = fault.filter(|point| match point.at {
            At::Number(number) => number == at,
            At::First(kind, prefix) => kind == verb && operation.name().starts_with(prefix),
        });
        // If this fault has no effect of its own, use the most similar one that has.
        let fault = fault.map(|point| point.fault).map(|fault| match fault {
            fault if fault.fits(verb) => fault,
            fault if fault.kills() => Fault::Before,
            _ => Fault::Unanswered,
        });
        let note = fault.map_or_else(String::new, |fault| format!("  << {fault:?}"));
        state.trace.push(Done { host, verb, name: operation.name(), note });
        let answer = match fault {
            None => self.perform(&operation),
            Some(fault) => {
                state.fired = Some((fault, verb));
                self.fail(&mut state, host, operation, fault)
            }
        };
        for late in &mut state.late {
            late.after = late.after.saturating_sub(1);
        }
        let (due, late) =
            std::mem::take(&mut state.late).into_iter().partition(|late| late.after == 0);
        state.late = late;
        for late in <Vec<Late>>::into_iter(due) {
            self.arrive(&mut state, late.operation);
        }
        state.turn = None;
        state.draw();
        self.wake.notify_all();
        answer
    }

    /// Executes an operation with a fault.
    fn fail(
        &self,
        state: &mut State,
        host: usize,
        operation: Operation,
        fault: Fault,
    ) -> Result<Answer> {
        if fault.kills() {
            let host = &mut state.hosts[host];
            (host.dead, host.running) = (true, false);
            host.tickets.clear();
        }
        // Other operations may come in between.
        let after = 1 + state.random.below(12);
        let mut later = |operation| state.late.push(Late { after, operation });
        match fault {
            Fault::Before => {}
            Fault::AnswerLost => _ = self.perform(&operation),
            Fault::Torn => return self.tear(operation),
            Fault::Late | Fault::UnansweredLate => later(operation),
            Fault::TwiceLater => {
                _ = self.perform(&operation);
                later(operation);
            }
            Fault::Twice => {
                _ = self.perform(&operation);
                return self.perform(&operation);
            }
            Fault::Again => {
                let answer = self.perform(&operation);
                later(operation);
                return answer;
            }
            Fault::Unanswered => _ = self.perform(&operation),
        }
        Err(lost())
    }

    /// Executes half of a put or a get.
    fn tear(&self, operation: Operation) -> Result<Answer> {
        match operation {
            Operation::Put(path, payload, attributes) => {
                let whole = Bytes::from(payload);
                let half = whole.slice(..whole.len() / 2);
                let path = Path::from(format!("{path}#1234567"));
                _ = self.perform(&Operation::Put(path, half.into(), attributes));
                Err(lost())
            }
            Operation::Get(..) => match self.perform(&operation)? {
                Answer::Get(mut answer) => {
                    let half = (answer.range.end - answer.range.start) / 2;
                    let payload = GetResultPayload::Stream(stream::empty().boxed());
                    let whole = std::mem::replace(&mut answer.payload, payload);
                    let GetResultPayload::Stream(whole) = whole else {
                        unreachable!("there are no files in memory")
                    };
                    let parts = whole.map_ok(move |body| body.slice(..half as usize));
                    let broken = stream::iter([Err(lost())]);
                    answer.payload = GetResultPayload::Stream(parts.chain(broken).boxed());
                    Ok(Answer::Get(answer))
                }
                other => Ok(other),
            },
            _ => Err(lost()),
        }
    }

    fn arrive(&self, state: &mut State, operation: Operation) {
        let (verb, name) = (operation.verb(), operation.name());
        let note = match self.perform(&operation) {
            Ok(_) => String::new(),
            Err(error) => format!("  {error}"),
        };
        state.trace.push(Done { host: NOBODY, verb, name, note });
    }

    pub fn perform(&self, operation: &Operation) -> Result<Answer> {
        let done = async {
            match operation.clone() {
                Operation::Put(path, payload, attributes) => {
                    let options = PutOptions { attributes, ..PutOptions::from(PutMode::Create) };
                    self.objects.put_opts(&path, payload, options).await.map(Answer::Put)
                }
                Operation::Delete(path) => {
                    self.objects.delete(&path).await.map(|()| Answer::Deleted)
                }
                Operation::Get(path, options) => {
                    let answer = self.objects.get_opts(&path, options).await;
                    answer.map(|answer| Answer::Get(Box::new(answer)))
                }
                Operation::List(prefix) => {
                    self.objects.list(prefix.as_ref()).try_collect().await.map(Answer::List)
                }
            }
        };
        done.now_or_never().expect("memory never waits")
    }
}

impl State {
    /// Draws the next operation if every running host has one waiting. Returns whether one was
    /// drawn.
    fn draw(&mut self) -> bool {
        let waits = |host: &Waiting| !host.running || !host.tickets.is_empty();
        if self.turn.is_some() || !self.hosts.iter().all(waits) {
            return false;
        }
        let ready: Vec<usize> =
            (0..self.hosts.len()).filter(|host| !self.hosts[*host].tickets.is_empty()).collect();
        if ready.is_empty() {
            return false;
        }
        let goes_on = self.random.below(4) < self.goes_on_of_4 && ready.contains(&self.last);
        let drawn = match goes_on {
            true => self.last,
            false => ready[self.random.below(ready.len() as u64) as usize],
        };
        self.last = drawn;
        self.turn = self.hosts[drawn].tickets.pop_front();
        true
    }
}

fn lost() -> Error {
    Error::Generic { store: "crash", source: "connection lost".into() }
}
