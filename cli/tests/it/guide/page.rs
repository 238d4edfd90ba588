//! Parses a page of the guide into the steps of its reader.

use super::world::Place;

/// The exit code of a command, by the place of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ends {
    code: i32,
    only: Option<Place>,
}

impl Ends {
    /// Parses the comment after a command.
    fn of(command: &str) -> Ends {
        let words = command.lines().next().and_then(|line| line.split_once(" # "));
        let said = words.and_then(|(_, comment)| comment.split_once("exit code "));
        let Some((_, said)) = said else { return Ends { code: 0, only: None } };
        let digits: String = said.chars().take_while(char::is_ascii_digit).collect();
        let only = match &said[digits.len()..] {
            rest if rest.starts_with(" on a disk") => Some(Place::Folder),
            rest if rest.starts_with(" in a bucket") => Some(Place::Bucket),
            _ => None,
        };
        Ends { code: digits.parse().expect("a code"), only }
    }

    pub fn in_place(self, place: Place) -> i32 {
        if self.only.is_none_or(|only| only == place) { self.code } else { 0 }
    }
}

#[derive(Debug)]
pub enum Step {
    /// The beginning of a block of commands.
    Block,
    Run {
        line: usize,
        command: String,
        ends: Ends,
    },
    /// The commands of the previous block print these lines.
    Prints {
        line: usize,
        text: String,
    },
    Before(String),
    /// An empty home folder to which only these files are copied.
    NewComputer {
        keeps: Vec<String>,
    },
    Hours(u64),
    NotRun(String),
}

#[derive(Debug)]
pub struct Page {
    pub steps: Vec<Step>,
}

impl Page {
    pub fn parse(name: &str, text: &str) -> Page {
        let mut steps = Vec::new();
        let mut is_run = true;
        let mut lines = text.lines().enumerate();
        while let Some((number, line)) = lines.next() {
            let line = line.trim();
            if let Some(comment) = line.strip_prefix("<!-- ") {
                let comment = comment.strip_suffix(" -->");
                let comment =
                    comment.unwrap_or_else(|| panic!("docs/{name}.md:{}: -->", number + 1));
                let step = Step::of(comment);
                is_run = !matches!(step, Some(Step::NotRun(_)));
                let step = step.unwrap_or_else(|| panic!("docs/{name}.md: what is {comment:?}?"));
                steps.push(step);
            } else if let Some(kind) = line.strip_prefix("```") {
                let mut block = Vec::new();
                for (_, line) in lines.by_ref() {
                    if line.trim() == "```" {
                        break;
                    }
                    block.push(line);
                }
                match kind {
                    "sh" if is_run => {
                        steps.push(Step::Block);
                        steps.extend(commands(&block, number + 2));
                    }
                    "text" => steps.push(Step::Prints { line: number + 1, text: block.join("\n") }),
                    _ => {}
                }
                is_run = true;
            }
        }
        Page { steps }
    }
}

impl Step {
    fn of(comment: &str) -> Option<Step> {
        if let Some(command) = comment.strip_prefix("before: ") {
            return Some(Step::Before(command.to_owned()));
        }
        if let Some(reason) = comment.strip_prefix("not run: ") {
            return Some(Step::NotRun(reason.to_owned()));
        }
        if let Some(hours) = comment.strip_suffix(" hours pass") {
            return hours.parse().ok().map(Step::Hours);
        }
        let rest = comment.strip_prefix("a new computer")?;
        let keeps = rest.strip_prefix(", with ").unwrap_or_default();
        Some(Step::NewComputer { keeps: keeps.split_whitespace().map(str::to_owned).collect() })
    }
}

/// Returns the commands of a block. A command continues after a backslash, and until the end of its here-document.
fn commands(block: &[&str], first: usize) -> Vec<Step> {
    let mut found = Vec::new();
    let mut lines = block.iter().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut command = line.to_owned();
        let document = line.contains("<<'END'");
        while document || command.ends_with('\\') {
            let Some((_, next)) = lines.next() else { break };
            command = format!("{command}\n{next}");
            if document && *next == "END" {
                break;
            }
        }
        let ends = Ends::of(&command);
        found.push(Step::Run { line: first + number, command, ends });
    }
    found
}

/// Returns a line without the parts that differ between runs: numbers with their units, ids and times.
pub fn without_numbers(line: &str) -> String {
    let word = |word: &str| {
        let bare = word.trim_matches(['(', ')', ',', ';', '.']);
        let plain = match bare {
            "B" | "KiB" | "MiB" | "GiB" => "UNIT",
            bare if bare.contains(|c: char| c.is_ascii_digit()) && !bare.contains('/') => "NUMBER",
            bare => bare,
        };
        word.replacen(bare, plain, usize::from(!bare.is_empty()))
    };
    line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let text = "\
Words.

<!-- before: rm x -->
```sh
# a comment
icecore a            # exit code 3: a reason
icecore b \\
  --more             # exit code 9: no, it is not in the first line
cat > f <<'END'
#!/bin/sh # exit code 4
END
icecore c            # exit code 2 on a disk
```

```text
12 files, 3 MiB (a/b7)
```
<!-- not run: there is a reason -->
```sh
aws
```
<!-- a new computer, with identity.txt -->
<!-- 48 hours pass -->
";
    let steps = Page::parse("test", text).steps;
    let run = |step: &Step| match step {
        Step::Run { line, ends, .. } => {
            Some((*line, ends.in_place(Place::Folder), ends.in_place(Place::Bucket)))
        }
        _ => None,
    };
    let ran: Vec<_> = steps.iter().filter_map(run).collect();
    assert_eq!(ran, [(6, 3, 3), (7, 0, 0), (9, 0, 0), (12, 2, 0)]);
    assert!(matches!(&steps[0], Step::Before(command) if command == "rm x"));
    assert!(matches!(&steps[7], Step::NotRun(_)), "{steps:#?}");
    assert!(matches!(&steps[8], Step::NewComputer { keeps } if keeps == &["identity.txt"]));
    assert!(matches!(&steps[9], Step::Hours(48)));
    assert_eq!(
        without_numbers("12 files, 3 MiB (a/b7)"),
        without_numbers("9 files, 1.5 B  (a/b7)")
    );
    assert_ne!(without_numbers("1 file"), without_numbers("1 folder"));
}
