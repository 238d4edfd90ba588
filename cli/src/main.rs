//! The program `icecore`: parses the command line, calls the engine, and prints results. The engine does all the work.

mod address;
mod answers;
mod args;
mod away;
mod aws;
mod cache;
mod code;
mod commands;
mod complete;
mod config;
mod drills;
mod echo;
mod escape;
mod examples;
mod failure;
mod fit;
mod flaws;
mod foreign;
mod frozen;
mod hint;
mod home;
mod limits;
mod line;
mod manual;
mod meant;
mod memory;
mod mistyped;
mod misuse;
mod moved;
mod near;
mod network;
mod nightly;
mod parse;
mod password;
mod pasted;
mod patterns;
mod places;
mod profile;
mod program;
mod progress;
mod report;
mod screen;
mod session;
mod setup;
mod shell;
mod signals;
mod text;
mod trace;
mod unfinished;
mod units;
mod waves;

use std::io::IsTerminal;
use std::process::ExitCode;

use args::{Cli, Command, Global};
use icecore_engine::repo::Catalog;
use icecore_engine::store::Location;
use report::Report;
use session::Session;

fn main() -> ExitCode {
    complete::answer();
    write_no_core();
    end_on_panic(Report { json: false, quiet: false, verbose: false, color: false });
    let cli = match line::parse() {
        Ok(cli) => cli,
        Err(error) => return refuse(error),
    };
    let report = Report {
        json: cli.global.json,
        quiet: cli.global.quiet,
        verbose: cli.global.verbose > 0,
        color: report::wants_color(cli.global.color),
    };
    end_on_panic(report);
    if !matches!(cli.command, Command::Setup(_)) {
        pasted::set_address(cli.global.address.clone());
    }
    if let Err(failure) = trace::start(cli.global.verbose) {
        report.failure(&failure);
        return ExitCode::from(failure.code);
    }
    raise_file_limit();
    if cli.global.of_run {
        signals::follow_run();
    }
    signals::catch(move |by_key| progress::say_what_is_left(report, by_key));
    // The walk of a tree recurses as deep as folders are nested.
    let worker =
        std::thread::Builder::new().stack_size(STACK_BYTES).spawn(move || run(cli, report));
    let result = worker.map(|worker| worker.join());
    screen::erase_at_exit();
    unfinished::remove();
    cache::remove();
    match result {
        Ok(Ok(Ok(code))) => ExitCode::from(code),
        Ok(Ok(Err(failure))) => {
            report.failure(&failure);
            ExitCode::from(failure.code)
        }
        _ => ExitCode::from(code::FAILED),
    }
}

/// Ends the program if one of its threads panics, because the others would wait for it. The repository is as safe as
/// after a kill.
fn end_on_panic(report: Report) {
    std::panic::set_hook(Box::new(move |panic| {
        report.failure(&failure::Failure {
            code: code::FAILED,
            message: format!("this is a bug in icecore: {}", misuse::one_line(&panic.to_string())),
            hint: Some("nothing that was acknowledged is lost; please report it".to_owned()),
            ..failure::Failure::default()
        });
        cache::exit(code::FAILED);
    }));
}

/// Escapes typed text that clap repeats in its messages. clap removes only colours, and a line break would look like
/// one of ours.
fn escape_typed(error: &mut clap::Error) {
    use clap::error::ContextValue;
    let escaped = |text: &String| escape::line(text).into_owned();
    let typed = error.context().filter_map(|(kind, value)| match value {
        ContextValue::String(text) => Some((kind, ContextValue::String(escaped(text)))),
        ContextValue::Strings(texts) => {
            Some((kind, ContextValue::Strings(texts.iter().map(escaped).collect())))
        }
        // Suggestions contain the typed text, too.
        ContextValue::StyledStrs(texts) => {
            let texts = texts.iter().map(|text| escaped(&text.to_string()).into()).collect();
            Some((kind, ContextValue::StyledStrs(texts)))
        }
        _ => None,
    });
    for (kind, value) in typed.collect::<Vec<_>>() {
        error.insert(kind, value);
    }
}

/// Shows help, or the error in the command line; as JSON if a script asked for that.
fn refuse(mut error: clap::Error) -> ExitCode {
    let line: Vec<String> =
        std::env::args_os().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let json = line.iter().any(|word| word == "--json");
    if !error.use_stderr() {
        return help(&error);
    }
    pasted::set_address(line::address_of(&line));
    if let Some(failure) = foreign::answer(&error) {
        let color = report::wants_color(report::ColorWhen::Auto);
        Report { json, quiet: false, verbose: false, color }.failure(&failure);
        return ExitCode::from(failure.code);
    }
    escape_typed(&mut error);
    let color = !json && report::wants_color(report::ColorWhen::Auto);
    let report = Report { json, quiet: false, verbose: false, color };
    match misuse::failure(&error, &line) {
        Some(failure) => report.failure(&failure),
        None if json => report.failure(&failure::Failure::usage(
            "a command is missing",
            "`icecore --help` lists the commands",
        )),
        None => report.misuse(&manual::command().render_help().to_string()),
    }
    ExitCode::from(code::USAGE)
}

/// Prints the help or the version that was asked for.
fn help(error: &clap::Error) -> ExitCode {
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let color = std::io::stdout().is_terminal() && !no_color;
    let text = error.render();
    let text = if color { text.ansi().to_string() } else { text.to_string() };
    Report { json: false, quiet: false, verbose: false, color }.bytes(text.as_bytes());
    ExitCode::SUCCESS
}

/// Disables core dumps, because they would contain the identity and passwords.
fn write_no_core() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // Linux may pass dumps to a program regardless of the limit. With this filter, they contain no memory.
    let filter = std::fs::File::options().write(true).open("/proc/self/coredump_filter");
    let _ = filter.and_then(|mut filter| std::io::Write::write_all(&mut filter, b"0"));
}

/// Stack size of the thread that does the work.
const STACK_BYTES: usize = 64 << 20;

/// Raises the limit of open files. A restore keeps a few hundred files open at once, and some systems allow only 256 by
/// default.
fn raise_file_limit() {
    let mut limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current = limit.maximum.map(|maximum| maximum.min(65_536)).or(Some(65_536));
    // If this fails, a restore of many files may fail, and will report that.
    let _ = rustix::process::setrlimit(rustix::process::Resource::Nofile, limit);
}

fn run(cli: Cli, report: Report) -> Result<u8, failure::Failure> {
    let Cli { global, command } = cli;
    if let Some(hint) = global.hyphen {
        return Err(failure::Failure::usage(mistyped::HYPHEN, hint));
    }
    match &command {
        Command::Completions { shell } => return Ok(commands::meta::completions(&report, *shell)),
        Command::Man(args) => return commands::meta::man(&report, args),
        Command::Profile { command } => return commands::profile::run(&global, &report, command),
        Command::Setup(args) => {
            return setup::run(&global, report, args)
                .map_err(|failure| failure.of_command(&global.command));
        }
        Command::Run(args) => return nightly::run::run(&global, report, args),
        Command::Log(args) => return nightly::log::run(&global, report, args),
        Command::Status(args) => return nightly::status::run(&global, report, args),
        Command::Schedule { command } => return nightly::install::run(&global, report, command),
        Command::Notify { command } => return nightly::notify::run(&global, report, command),
        _ => {}
    }
    let name = global.command.clone();
    let is_unattended = matches!(
        command,
        Command::Snapshot(_) | Command::Prune(_) | Command::Check(_) | Command::Mirror(_)
    );
    let done = run_with(global, report, command, is_unattended);
    done.map_err(|failure| failure.of_command(&name))
}

fn run_with(
    mut global: Global,
    report: Report,
    command: Command,
    is_unattended: bool,
) -> Result<u8, failure::Failure> {
    if let Command::Mirror(args) = &command
        && let [from, _] = &args.places[..]
    {
        global.repo = Some(from.clone());
        // It is typed, so the archive of a profile does not replace it.
        global.repo_by_flag = true;
    }
    let of_buckets = std::mem::take(&mut global.of_buckets);
    let mut session = Session::new(global, report)?;
    session.makes_nothing = command.makes_nothing();
    if let Command::Snapshot(args) = &command {
        session.host = args.host.clone();
    }
    // `mirror` can copy an archive from a folder to a bucket, so these options may have an effect.
    let idle = misuse::idle(&of_buckets).filter(|_| !matches!(command, Command::Mirror(_)));
    if let (Some(idle), Ok(Location::Folder(_))) = (idle, session.location()) {
        report.note(&idle);
    }
    let explain = |failure: failure::Failure| {
        let failure = failure::Failure { cost_usd: session.spent_usd().map(Box::new), ..failure };
        match session.location() {
            Ok(location) => session.moved(failure.explained(&location)),
            Err(_) => failure,
        }
    };
    let failure = match execute(&session, command) {
        Err(failure) if failure.broken_catalog.is_some() => failure,
        Ok(done) => return Ok(session.log.code(done, is_unattended)),
        Err(failure) => return Err(explain(failure)),
    };
    // The catalog is a cache. If it is damaged, rebuild it and run the command again.
    let (Some(repository), Ok(again)) = (failure.broken_catalog, line::parse()) else {
        return Err(failure);
    };
    report.note(&format!("{}; rebuilding it", failure.message));
    let waiting = session.waiting();
    Catalog::delete(&session.cache(), repository, &waiting)
        .or_else(|error| session.leave_cache(error, repository, true))?;
    execute(&session, again.command).map_err(explain)
}

fn execute(session: &Session, command: Command) -> Result<u8, failure::Failure> {
    match command {
        Command::Init(args) => commands::init::run(session, &args),
        Command::Snapshot(args) => commands::snapshot::run(session, args),
        Command::Snapshots(args) => commands::list::snapshots(session, &args),
        Command::Ls(args) => commands::list::ls(session, &args),
        Command::Find(args) => commands::find::find(session, &args),
        Command::History(args) => commands::find::history(session, &args),
        Command::Diff(args) => commands::list::diff(session, &args),
        Command::Dump(args) => commands::list::dump(session, &args),
        Command::Restore(args) => commands::restore::run(session, args, commands::waves::begin),
        Command::Jobs(args) => commands::jobs::run(session, args),
        Command::Cost(args) => commands::cost::run(session, &args),
        Command::Audit(args) => commands::audit::run(session, &args),
        Command::Check(args) => commands::check::run(session, &args),
        Command::Drill(args) => commands::drill::run(session, &args),
        Command::Prune(args) => commands::prune::run(session, &args),
        Command::Accept(args) => commands::accept::run(session, &args),
        Command::AcceptFile(args) => commands::accept::files(session, &args),
        Command::Retire(args) => commands::retire::run(session, &args),
        Command::Tag { command } => commands::tag::run(session, &command),
        Command::Rewrite(args) => commands::rewrite::run(session, &args),
        Command::Mirror(args) => commands::mirror::run(session, &args),
        Command::Promote(args) => commands::promote::run(session, &args),
        Command::RebuildIndex => commands::meta::rebuild_index(session),
        Command::Stats => commands::meta::stats(session),
        Command::Settings(args) => commands::settings::run(session, &args),
        Command::Key { command } => commands::key::run(session, command),
        Command::Policy { command } => commands::policy::run(session, &command),
        // These commands have no session, or one for each profile.
        Command::Completions { .. }
        | Command::Man(_)
        | Command::Setup(_)
        | Command::Profile { .. }
        | Command::Run(_)
        | Command::Log(_)
        | Command::Status(_)
        | Command::Schedule { .. }
        | Command::Notify { .. } => Ok(code::DONE),
    }
}
