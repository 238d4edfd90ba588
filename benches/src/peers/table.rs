//! Results as Markdown: medians of all rounds, and ratios to the first tool.

use std::fmt::Write;

use super::rounds::{Results, STEPS, Sample, Step};
use super::tool::Name;
use crate::size;

/// What the reader should know in addition to the numbers.
pub struct Heading<'a> {
    pub rounds: usize,
    pub cores: usize,
    /// Tools in the order of the tables, with their versions.
    pub tools: &'a [(Name, String)],
}

/// Returns the whole report.
pub fn markdown(heading: &Heading<'_>, results: &Results) -> String {
    let mut text = String::from("# Side by side\n\n");
    head(&mut text, heading, results);
    for step in STEPS {
        section(&mut text, heading, results, step);
    }
    if !results.problems.is_empty() {
        text.push_str("\n## Problems\n\n");
        for problem in &results.problems {
            line(&mut text, &format!("- {problem}"));
        }
    }
    text
}

fn head(text: &mut String, heading: &Heading<'_>, results: &Results) {
    let versions: Vec<&str> = heading.tools.iter().map(|(_, v)| v.as_str()).collect();
    let verified: Vec<&str> = results.verified.iter().map(|name| name.text()).collect();
    let library = size::human(results.bytes);
    let changes = &results.changes;
    line(text, &format!("- Library: {} files, {library}", results.files));
    line(
        text,
        &format!(
            "- The week: {} shoot renamed, {} sidecars and the metadata of {} JPEGs rewritten, \
             {} images updated in the catalog, {} files ({}) added",
            u8::from(changes.renamed.is_some()),
            changes.sidecars.len(),
            changes.jpegs.len(),
            changes.catalog_images,
            changes.added.len(),
            size::human(changes.added_bytes)
        ),
    );
    line(text, &format!("- Versions: {}", versions.join(", ")));
    let plural = if heading.rounds == 1 { "" } else { "s" };
    line(
        text,
        &format!(
            "- {} round{plural}, medians; {} cores; what a step reads is in the page cache",
            heading.rounds, heading.cores
        ),
    );
    line(
        text,
        &format!("- Whole restores compared with the source and the same: {}", verified.join(", ")),
    );
    if let Some((first, _)) = heading.tools.first() {
        let first = first.text();
        line(text, &format!("- × is the ratio to {first}: over 1, it takes more than {first}"));
    }
}

fn section(text: &mut String, heading: &Heading<'_>, results: &Results, step: Step) {
    let title = match step {
        Step::First => "First snapshot".to_string(),
        Step::Unchanged => "Nothing changed".to_string(),
        Step::Week => "One week later".to_string(),
        Step::File => format!("Restore one file of {}", size::human(results.file_bytes)),
        Step::All => "Restore everything".to_string(),
    };
    line(text, &format!("\n## {title}\n"));
    let mut header = String::from("| tool | wall s | × | min–max | CPU s | × | memory | × |");
    let mut rule = String::from("|---|--:|--:|--:|--:|--:|--:|--:|");
    if step.is_snapshot() {
        header.push_str(" stored | × | added | × | objects |");
        rule.push_str("--:|--:|--:|--:|--:|");
    }
    line(text, &header);
    line(text, &rule);
    let rows: Vec<Option<Row>> =
        heading.tools.iter().map(|(tool, _)| Row::of(&results.samples, *tool, step)).collect();
    let base = rows.first().cloned().flatten();
    for ((tool, _), row) in heading.tools.iter().zip(&rows) {
        match row {
            Some(row) => line(text, &row.text(*tool, step, base.as_ref())),
            None => line(text, &format!("| {} | failed |", tool.text())),
        }
    }
}

/// Medians of one tool at one step.
#[derive(Clone, Debug)]
pub struct Row {
    pub wall: f64,
    least: f64,
    most: f64,
    pub cpu: f64,
    memory: f64,
    stored: f64,
    added: f64,
    objects: f64,
}

impl Row {
    /// Returns `None` if the tool never completed this step.
    pub fn of(samples: &[Sample], tool: Name, step: Step) -> Option<Row> {
        let mine: Vec<&Sample> =
            samples.iter().filter(|s| s.tool == tool && s.step == step).collect();
        let middle = |of: fn(&Sample) -> f64| median(mine.iter().map(|s| of(s)).collect());
        let walls = || mine.iter().map(|s| s.cost.wall);
        Some(Row {
            wall: middle(|s| s.cost.wall)?,
            least: walls().fold(f64::INFINITY, f64::min),
            most: walls().fold(0.0, f64::max),
            cpu: middle(|s| s.cost.cpu)?,
            memory: middle(|s| s.cost.memory as f64)?,
            stored: middle(|s| s.stored as f64)?,
            added: middle(|s| s.added as f64)?,
            objects: middle(|s| s.objects as f64)?,
        })
    }

    fn text(&self, tool: Name, step: Step, base: Option<&Row>) -> String {
        let ratio = |of: fn(&Row) -> f64| match base.map(of) {
            Some(base) if base > 0.0 => format!("{:.2}", of(self) / base),
            _ => "–".to_string(),
        };
        let bytes = |value: f64| size::human(value.max(0.0) as u64);
        let mut cells = vec![
            tool.text().to_string(),
            seconds(self.wall),
            ratio(|r| r.wall),
            format!("{}–{}", seconds(self.least), seconds(self.most)),
            seconds(self.cpu),
            ratio(|r| r.cpu),
            bytes(self.memory),
            ratio(|r| r.memory),
        ];
        if step.is_snapshot() {
            cells.extend([
                bytes(self.stored),
                ratio(|r| r.stored),
                bytes(self.added),
                ratio(|r| r.added),
                format!("{:.0}", self.objects),
            ]);
        }
        format!("| {} |", cells.join(" | "))
    }
}

fn seconds(value: f64) -> String {
    if value < 9.995 { format!("{value:.2}") } else { format!("{value:.1}") }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn line(text: &mut String, content: &str) {
    // Writing to a `String` has no way to fail, so there is no error to pass on.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
mod tests {
    use super::super::measure::Cost;
    use super::*;

    fn sample(tool: Name, wall: f64) -> Sample {
        Sample {
            tool,
            step: Step::First,
            cost: Cost { wall, cpu: 2.0 * wall, memory: 100_000_000 },
            stored: 1_000_000_000,
            objects: 60,
            added: 1_000_000_000,
        }
    }

    #[test]
    fn medians_and_ratios() {
        let mut results = Results::default();
        for wall in [1.0, 3.0, 2.0] {
            results.samples.push(sample(Name::Icecore, wall));
            results.samples.push(sample(Name::Borg, 4.0 * wall));
        }
        let heading = Heading {
            rounds: 3,
            cores: 2,
            tools: &[(Name::Icecore, "a 1".into()), (Name::Borg, "b 2".into())],
        };
        let text = markdown(&heading, &results);
        let row = "| borg | 8.00 | 4.00 | 4.00–12.0 | 16.0 | 4.00 | 100 MB | 1.00 | 1.00 GB |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("| icecore | failed |"), "no other step has samples");
        assert_eq!(median(vec![4.0, 1.0]), Some(2.5));
    }
}
