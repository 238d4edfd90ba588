//! Completion in Bash. Bash splits words at colons and passes them with their quotes, so the program parses the line
//! itself. Bash quotes the answers as it quotes file names.

use std::ffi::OsString;
use std::io::{Error, Write};
use std::path::Path;

use clap_complete::engine::complete;
use clap_complete::env::EnvCompleter;

const SCRIPT: &str = r#"_icecore() {
    local word
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$word")
    done < <(VARIABLE=bash ICECORE_LINE="${COMP_LINE:0:$COMP_POINT}" \
        ICECORE_BREAKS="$COMP_WORDBREAKS" PROGRAM -- PROGRAM 2> /dev/null)
    # A profile is no folder, though there may be one of its name.
    local name=' (-P *|--profile(=| +))[^ ]*$'
    [[ ${COMP_LINE:0:$COMP_POINT} =~ $name ]] || compopt -o filenames 2> /dev/null
    if [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *[/=:] ]]; then
        compopt -o nospace 2> /dev/null
    fi
}
complete -o nosort -F _icecore PROGRAM 2> /dev/null || complete -F _icecore PROGRAM
"#;

#[derive(Debug, Clone, Copy)]
pub struct Bash;

impl EnvCompleter for Bash {
    fn name(&self) -> &'static str {
        "bash"
    }

    fn is(&self, name: &str) -> bool {
        name == "bash"
    }

    fn write_registration(
        &self,
        variable: &str,
        _name: &str,
        program: &str,
        _completer: &str,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let script = SCRIPT.replace("VARIABLE", variable).replace("PROGRAM", program);
        out.write_all(script.as_bytes())
    }

    fn write_complete(
        &self,
        command: &mut clap::Command,
        _args: Vec<OsString>,
        folder: Option<&Path>,
        out: &mut dyn Write,
    ) -> Result<(), Error> {
        let Some(Typed { words, kept }) = typed() else { return Ok(()) };
        let (last, words) = (words.len() - 1, words.into_iter().map(OsString::from).collect());
        for found in complete(command, words, last, folder)? {
            let found = found.get_value().to_string_lossy();
            let Some(word) = found.get(kept..) else { continue };
            // Bash itself adds a slash to a folder.
            let word = word.strip_suffix('/').filter(|word| !word.is_empty()).unwrap_or(word);
            // A name with a line break cannot be sent, because the answer has one name on each line.
            if !word.contains(char::is_control) {
                writeln!(out, "{word}")?;
            }
        }
        Ok(())
    }
}

/// Returns the words of the line that Bash completes.
pub fn words() -> Option<Vec<OsString>> {
    Some(typed()?.words.into_iter().map(OsString::from).collect())
}

fn typed() -> Option<Typed> {
    let line = std::env::var("ICECORE_LINE").ok()?;
    Some(split(&line, &std::env::var("ICECORE_BREAKS").unwrap_or_default()))
}

/// The command line up to the cursor, without its quotes.
#[derive(Debug, PartialEq, Eq)]
struct Typed {
    /// The words; the last one is being typed.
    words: Vec<String>,
    /// Number of bytes at the start of the last word that Bash treats as separate words, and keeps.
    kept: usize,
}

fn split(line: &str, breaks: &str) -> Typed {
    let mut typed = Typed { words: vec![String::new()], kept: 0 };
    let mut is_begun = false;
    let mut quote = None;
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        let word = typed.words.last_mut().expect("there is one");
        match (quote, c) {
            (None, ' ' | '\t') => {
                if is_begun {
                    typed.words.push(String::new());
                    (is_begun, typed.kept) = (false, 0);
                }
                continue;
            }
            (None, '\'' | '"') => quote = Some(c),
            (Some(open), _) if open == c => quote = None,
            (None | Some('"'), '\\') => word.extend(letters.next()),
            _ => {
                word.push(c);
                if quote.is_none() && matches!(c, ':' | '=') && breaks.contains(c) {
                    typed.kept = word.len();
                }
            }
        }
        is_begun = true;
    }
    typed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_as_bash_reads_it() {
        let words = |line: &str| split(line, " :=");
        let is = |words: &[&str], kept| Typed {
            words: words.iter().map(|word| (*word).to_owned()).collect(),
            kept,
        };
        assert_eq!(words("icecore "), is(&["icecore", ""], 0));
        assert_eq!(words("icecore  snap"), is(&["icecore", "snap"], 0));
        assert_eq!(words(r"icecore snapshot My\ Ph"), is(&["icecore", "snapshot", "My Ph"], 0));
        assert_eq!(words("icecore snapshot \"My Ph"), is(&["icecore", "snapshot", "My Ph"], 0));
        assert_eq!(words("icecore snapshot 'it''s '"), is(&["icecore", "snapshot", "its "], 0));
        assert_eq!(words("icecore ls latest:/ho"), is(&["icecore", "ls", "latest:/ho"], 7));
        assert_eq!(words("icecore ls 'latest:/ho"), is(&["icecore", "ls", "latest:/ho"], 0));
        assert_eq!(words("icecore --repo=/m"), is(&["icecore", "--repo=/m"], 7));
        assert_eq!(split("icecore --repo=/m", " "), is(&["icecore", "--repo=/m"], 0));
        assert_eq!(words("icecore '' "), is(&["icecore", "", ""], 0));
    }
}
