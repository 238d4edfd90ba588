//! Asks questions on the terminal, each with a default answer.

use std::io::{BufRead, IsTerminal};

use crate::answers;
use crate::code;
use crate::failure::Failure;
use crate::fit::whole;
use crate::report::Report;
use crate::signals;

/// A conversation with the user, which asks nothing if a script runs `setup`.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    pub report: Report,
    /// Whether a user answers.
    pub asks: bool,
}

impl Talk {
    /// Begins a conversation. With `is_agreed` there will be no questions. Fails if questions are
    /// needed but there is no terminal.
    pub fn begin(report: Report, is_agreed: bool) -> Result<Talk, Failure> {
        let can_ask = std::io::stdin().is_terminal() && !report.json && !report.quiet;
        if !is_agreed && !can_ask {
            return Err(Failure::usage(
                "setup asks questions, and there is no terminal to ask them",
                "answer them with options: --yes, --source, --to, --password-file and --identity-page",
            ));
        }
        Ok(Talk { report, asks: !is_agreed })
    }

    /// Prints the explanation of a question. Prints nothing for a script, which gets no questions.
    pub fn explain(&self, text: &str) {
        if self.asks {
            self.report.note(&format!("\n{text}"));
        }
    }

    /// Asks for a line, and returns `default` if it is empty.
    pub fn line(&self, question: &str, default: &str) -> Result<String, Failure> {
        let line = self.read(&match default {
            "" => format!("{question}:"),
            default => format!("{question} [{}]:", whole(default)),
        })?;
        Ok(if line.is_empty() { default.to_owned() } else { line })
    }

    /// Asks until `read` accepts the answer. Prints why an answer is not accepted.
    pub fn until<T>(
        &self,
        question: &str,
        default: &str,
        mut read: impl FnMut(&str) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        loop {
            match read(&self.line(question, default)?) {
                Ok(value) => return Ok(value),
                Err(failure) => self.report.failure(&failure),
            }
        }
    }

    /// Asks a yes-or-no question. For a script, returns the default.
    pub fn yes(&self, question: &str, default: bool) -> Result<bool, Failure> {
        if !self.asks {
            return Ok(default);
        }
        let (yes, no) = if default { ("Y", "n") } else { ("y", "N") };
        let mut question = format!("{question} [{yes}/{no}]");
        loop {
            let answer = self.read(&question)?.to_lowercase();
            if answer.is_empty() {
                return Ok(default);
            }
            let is = |word: &str| word.starts_with(&answer);
            if is("yes") || is("no") {
                return Ok(is("yes"));
            }
            "Type y for yes, or n for no:".clone_into(&mut question);
        }
    }

    /// Asks, and returns the typed line without surrounding white space.
    fn read(&self, question: &str) -> Result<String, Failure> {
        not_interrupted()?;
        let mut line = String::new();
        // From the moment when the question is visible, Ctrl-C is an answer to it.
        let ask = || {
            self.report.ask(question);
            std::io::stdin().lock().read_line(&mut line)
        };
        match answers::waiting(|| signals::asking(ask)) {
            Ok(1..) => Ok(line.trim().to_owned()),
            _ => Err(Failure::new(
                code::FAILED,
                "the questions were not answered; nothing was made",
                Some(AGAIN),
            )),
        }
    }
}

/// The hint after a setup that ended early.
const AGAIN: &str = "start `icecore setup` again when you like";

/// Fails if the user has pressed Ctrl-C while no question was asked.
pub fn not_interrupted() -> Result<(), Failure> {
    match signals::interrupted() {
        false => Ok(()),
        true => {
            let message = "interrupted; nothing was made";
            Err(Failure::new(signals::exit_code(), message, Some(AGAIN)))
        }
    }
}
