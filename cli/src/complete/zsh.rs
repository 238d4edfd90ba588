//! Completion in Zsh: the script of the library, changed so that it passes words without their quotes.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap_complete::env::{self, EnvCompleter};

/// How the script of the library passes its words, and the form that replaces it.
const QUOTED: &str = "\"${words[@]}\"";
const UNQUOTED: &str = "\"${(@Q)words}\"";

#[derive(Debug, Clone, Copy)]
pub struct Zsh;

impl EnvCompleter for Zsh {
    fn name(&self) -> &'static str {
        env::Zsh.name()
    }

    fn is(&self, name: &str) -> bool {
        env::Zsh.is(name)
    }

    fn write_registration(
        &self,
        variable: &str,
        name: &str,
        program: &str,
        completer: &str,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let mut script = Vec::new();
        env::Zsh.write_registration(variable, name, program, completer, &mut script)?;
        out.write_all(String::from_utf8_lossy(&script).replace(QUOTED, UNQUOTED).as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        args: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        // A quote that is still open is passed with its word.
        let open =
            |word: OsString| match word.to_str().and_then(|word| word.strip_prefix(['"', '\''])) {
                Some(rest) => rest.into(),
                None => word,
            };
        let args = args.into_iter().map(open).collect();
        env::Zsh.write_complete(command, args, folder, out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_without_quotes() {
        let mut script = Vec::new();
        Zsh.write_registration("ASKS", "icecore", "icecore", "icecore", &mut script).unwrap();
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains(UNQUOTED) && !script.contains(QUOTED), "{script}");
    }
}
