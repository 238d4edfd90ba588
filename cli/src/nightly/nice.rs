//! Starts a step with low priority, using `nice` and `ionice`, which exist on every system with these priorities. The
//! system call for disk priorities has no safe binding.

use std::path::Path;
use std::process::Command;

/// Programs that start another one with low CPU and disk priority, the outermost first.
const STARTERS: [(&str, &[&str]); 2] = [("nice", &["-n", "10"]), ("ionice", &["-c", "3"])];

/// Returns the command for a program. Omits missing starters, because running the program is more important.
pub fn command(program: &Path, is_there: impl Fn(&str) -> bool) -> Command {
    let starters = STARTERS.iter().filter(|(name, _)| is_there(name));
    let mut words = starters.flat_map(|(name, options)| [&[*name], *options].concat());
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

/// Returns whether a program is in one of the folders of `PATH`.
pub fn is_in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starters_that_are_not_there_are_left_out() {
        let line = |there: &[&str]| {
            let command = command(Path::new("/bin/icecore"), |name| there.contains(&name));
            let words = std::iter::once(command.get_program()).chain(command.get_args());
            let words: Vec<_> = words.map(|word| word.to_string_lossy().into_owned()).collect();
            words.join(" ")
        };
        assert_eq!(line(&["nice", "ionice"]), "nice -n 10 ionice -c 3 /bin/icecore");
        assert_eq!(line(&["nice"]), "nice -n 10 /bin/icecore");
        assert_eq!(line(&["ionice"]), "ionice -c 3 /bin/icecore");
        assert_eq!(line(&[]), "/bin/icecore");
    }
}
