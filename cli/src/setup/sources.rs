//! The sources to back up: proposes folders that were found, or uses those that were named.

use std::path::{Path, PathBuf};
use std::time::Duration;

use icecore_engine::files::scan;

use super::ask::Talk;
use super::count::{Counted, count_all};
use super::look::{Candidate, CandidateKind, candidates};
use crate::commands::snapshot;
use crate::failure::Failure;
use crate::mistyped;
use crate::units::show;

/// Maximum time for counting the proposed folders …
const PROPOSED_MAX: Duration = Duration::from_secs(2);
/// … and the chosen ones.
const CHOSEN_MAX: Duration = Duration::from_secs(8);
/// Quotes that a user may put around a path.
const QUOTES: [char; 2] = ['\'', '"'];

/// The chosen sources.
#[derive(Debug, Clone)]
pub struct ChosenSources {
    /// Absolute paths.
    pub paths: Vec<PathBuf>,
    pub counted: Counted,
}

/// Asks what to back up, unless options name sources.
pub fn choose(talk: &Talk, given: &[PathBuf]) -> Result<ChosenSources, Failure> {
    let paths = match (given, talk.asks) {
        ([], false) => {
            return Err(Failure::usage(
                "no file or folder to back up was named",
                "name each folder: --source ~/Pictures",
            ));
        }
        ([], true) => ask(talk)?,
        (given, _) => whole(given)?,
    };
    let all = count_all(&paths, CHOSEN_MAX);
    let counted = Counted::sum(&all);
    for (path, counted) in paths.iter().zip(&all) {
        talk.report.note(&format!("{}: {}", show(path), counted.text()));
        if counted.is_whole && counted.files == 0 {
            let message = "there is no file in it; is its disk mounted?";
            talk.report.problem(&show(path), message);
        }
    }
    if counted.litter > 0 {
        talk.report.note(&litter(&counted));
    }
    Ok(ChosenSources { paths, counted })
}

fn litter(counted: &Counted) -> String {
    let more = if counted.is_whole { "" } else { ", so far" };
    let text = snapshot::litter(counted.litter);
    let text = text.split(" (--").next().unwrap_or(&text);
    format!("{text}{more}, such as thumbnails and Lightroom's previews")
}

/// Proposes folders, and returns the chosen ones.
fn ask(talk: &Talk) -> Result<Vec<PathBuf>, Failure> {
    let found = candidates(etcetera::home_dir().ok().as_deref());
    let paths: Vec<PathBuf> = found.iter().map(|one| one.path.clone()).collect();
    let counted = count_all(&paths, PROPOSED_MAX);
    if found.is_empty() {
        talk.explain("What do you want to back up?");
        let question = "The folder with your photos; several are separated by commas";
        return talk.until(question, "", |answer| whole(&read(answer, &[])?));
    }
    talk.explain("What do you want to back up? These folders were found:");
    for (number, (one, counted)) in found.iter().zip(&counted).enumerate() {
        talk.report.note(&format!("    {}  {}", number + 1, show(&one.path)));
        talk.report.note(&format!("       {}", described(one, counted)));
    }
    let proposed = |(number, (one, counted)): (usize, (&Candidate, &Counted))| {
        let is_likely = matches!(one.kind, CandidateKind::Photos | CandidateKind::Catalog);
        let is_likely = is_likely && counted.files > 0;
        is_likely.then(|| (number + 1).to_string())
    };
    let default: Vec<String> =
        found.iter().zip(&counted).enumerate().filter_map(proposed).collect();
    let question = "Numbers, or other folders, separated by commas";
    talk.until(question, &default.join(","), |answer| whole(&read(answer, &found)?))
}

fn described(one: &Candidate, counted: &Counted) -> String {
    let what = match one.kind {
        CandidateKind::Photos => "",
        CandidateKind::Catalog => "; it has a Lightroom catalog",
        CandidateKind::Disk => "; a disk",
        CandidateKind::Share => "; a share of another computer",
    };
    format!("{}{what}", counted.text())
}

/// Parses an answer of paths and of numbers of proposed folders.
fn read(answer: &str, found: &[Candidate]) -> Result<Vec<PathBuf>, Failure> {
    let answer = answer.trim();
    let numbers: Vec<usize> =
        answer.split([' ', ',']).filter_map(|word| word.trim().parse().ok()).collect();
    let words = answer.split([' ', ',']).filter(|word| !word.trim().is_empty()).count();
    let parts: Vec<String> = match !numbers.is_empty() && numbers.len() == words {
        true => numbers.iter().map(usize::to_string).collect(),
        false => answer.split(',').map(|part| part.trim().to_owned()).collect(),
    };
    let one = |part: &String| match part.parse::<usize>() {
        Ok(number) => {
            let one = number.checked_sub(1).and_then(|at| found.get(at));
            one.map(|one| one.path.clone()).ok_or_else(|| {
                let hint = match found.is_empty() {
                    true => "type the path of a folder, for example ~/Pictures",
                    false => "type a number from the list, or the path of a folder",
                };
                Failure::usage(format!("there is no folder with the number {number}"), hint)
            })
        }
        Err(_) => Ok(PathBuf::from(part.trim_matches(QUOTES))),
    };
    parts.iter().filter(|part| !part.is_empty()).map(one).collect()
}

/// Returns the absolute paths of the typed ones, which must exist. Omits a folder that is inside
/// another one.
pub fn whole(typed: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut real: Vec<PathBuf> = Vec::new();
    for typed in typed {
        mistyped::refuse_hyphen(typed, "name a folder")?;
        let local = mistyped::local(typed);
        let failed = |error| Failure::file("read", typed, &error);
        scan::stat(&local, true).map_err(failed)?;
        let path = std::path::absolute(&local).map_err(failed)?;
        if path.to_str().is_none() {
            return Err(Failure::usage(
                format!("{} is not UTF-8, and a profile is", show(&path)),
                "rename the folder, or name the one above it",
            ));
        }
        real.push(scan::real_path(&local).map_err(failed)?);
        paths.push(path);
    }
    if paths.is_empty() {
        return Err(Failure::usage(
            "no file or folder to back up was named",
            "name a folder with photos",
        ));
    }
    let is_inside = |at: usize| {
        let mut others = real.iter().enumerate();
        others.any(|(other, above)| {
            let is_same = real[at] == *above;
            at != other && real[at].starts_with(above) && (!is_same || other < at)
        })
    };
    let kept = (0..paths.len()).filter(|at| !is_inside(*at));
    Ok(kept.map(|at| paths[at].clone()).collect())
}

/// Returns the real paths of sources.
pub fn real(paths: &[PathBuf]) -> Vec<PathBuf> {
    paths.iter().map(|path| scan::real_path(path).unwrap_or_else(|_| path.clone())).collect()
}

/// Returns whether a folder is equal to another one or inside it.
pub fn is_in(inner: &Path, outer: &Path) -> bool {
    inner.starts_with(outer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_paths_are_read() {
        let found = ["/a", "/b b", "/c"]
            .map(|path| Candidate { path: path.into(), kind: CandidateKind::Photos });
        let read = |answer: &str| {
            let paths = read(answer, &found).map_err(|failure| failure.message)?;
            Ok::<_, String>(
                paths.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>(),
            )
        };
        assert_eq!(read("1"), Ok(vec!["/a".to_owned()]));
        assert_eq!(read("1 3"), read("1,3"));
        assert_eq!(read(" 2 , /x y "), Ok(vec!["/b b".to_owned(), "/x y".to_owned()]));
        assert_eq!(read("'/x y'"), Ok(vec!["/x y".to_owned()]));
        assert_eq!(read("/x 2"), Ok(vec!["/x 2".to_owned()]));
        assert_eq!(read(""), Ok(Vec::new()));
        for wrong in ["0", "4", "1,9"] {
            assert!(read(wrong).unwrap_err().contains("no folder with the number"), "{wrong}");
        }
    }

    #[test]
    fn a_folder_inside_of_another_one_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(at("a/b")).unwrap();
        std::fs::create_dir_all(at("ab")).unwrap();
        std::os::unix::fs::symlink(at("a"), at("link")).unwrap();
        let kept = whole(&[at("a/b"), at("ab"), at("a"), at("link")]).unwrap();
        assert_eq!(kept, [at("ab"), at("a")]);
        assert!(whole(&[at("none")]).unwrap_err().message.contains("failed to read"));
        assert!(whole(&[]).is_err());
    }
}
