//! Draws results as a picture: the time of each tool for each step, relative to the first tool.

use std::fmt::Write;

use super::rounds::{Results, STEPS, Step};
use super::table::{Heading, Row};

const WIDTH: f64 = 860.0;
const NAMES_WIDTH: f64 = 70.0;
const ROW_HEIGHT: f64 = 18.0;
const TITLE_HEIGHT: f64 = 34.0;
/// Longer bars are cut off here; their number shows the true ratio.
const RATIO_MAX: f64 = 8.0;
const COLOURS: [&str; 5] = ["#2a6f97", "#bc6c25", "#6a994e", "#8d6a9f", "#b5838d"];

/// Draws wall time on the left and CPU time on the right.
pub fn svg(heading: &Heading<'_>, results: &Results) -> String {
    let group_height = TITLE_HEIGHT + ROW_HEIGHT * heading.tools.len() as f64;
    let height = 30.0 + group_height * STEPS.len() as f64;
    let mut text = format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12" fill="#222">
<rect width="{WIDTH}" height="{height}" fill="#fff"/>
"##
    );
    let column_width = (WIDTH - NAMES_WIDTH) / 2.0;
    for (column, title) in ["wall time", "CPU time"].into_iter().enumerate() {
        let x = NAMES_WIDTH + column as f64 * column_width;
        label(&mut text, x, 18.0, &format!("{title}, × that of {}", first(heading)), "");
    }
    for (number, step) in STEPS.into_iter().enumerate() {
        let top = 30.0 + group_height * number as f64;
        label(&mut text, 8.0, top + 20.0, title(step), r#" font-weight="bold""#);
        let rows: Vec<Option<Row>> =
            heading.tools.iter().map(|(tool, _)| Row::of(&results.samples, *tool, step)).collect();
        let Some(Some(base)) = rows.first() else { continue };
        for (at, ((tool, _), row)) in heading.tools.iter().zip(&rows).enumerate() {
            let Some(row) = row else { continue };
            let y = top + TITLE_HEIGHT + ROW_HEIGHT * at as f64;
            label(&mut text, 8.0, y + 10.0, tool.text(), "");
            for (column, (mine, first)) in
                [(row.wall, base.wall), (row.cpu, base.cpu)].into_iter().enumerate()
            {
                let x = NAMES_WIDTH + column as f64 * column_width;
                let ratio = if first > 0.0 { mine / first } else { 1.0 };
                let width = ratio.min(RATIO_MAX) / RATIO_MAX * (column_width - 110.0);
                let colour = COLOURS[at % COLOURS.len()];
                let height = ROW_HEIGHT - 5.0;
                line(
                    &mut text,
                    &format!(
                        r#"<rect x="{x}" y="{y:.1}" width="{width:.1}" height="{height}" fill="{colour}"/>"#
                    ),
                );
                let cut = if ratio > RATIO_MAX { "… " } else { "" };
                let value = format!("{cut}{ratio:.1} ({mine:.2} s)");
                label(&mut text, x + width + 6.0, y + 10.5, &value, "");
            }
        }
    }
    text.push_str("</svg>\n");
    text
}

fn first<'a>(heading: &Heading<'a>) -> &'a str {
    heading.tools.first().map_or("the first", |(tool, _)| tool.text())
}

fn title(step: Step) -> &'static str {
    match step {
        Step::First => "First snapshot",
        Step::Unchanged => "Nothing changed",
        Step::Week => "One week later",
        Step::File => "Restore one file",
        Step::All => "Restore everything",
    }
}

fn label(text: &mut String, x: f64, y: f64, content: &str, how: &str) {
    line(text, &format!(r#"<text x="{x:.1}" y="{y:.1}"{how}>{content}</text>"#));
}

fn line(text: &mut String, content: &str) {
    // Writing to a `String` has no way to fail, so there is no error to pass on.
    let _ = writeln!(text, "{content}");
}

#[cfg(test)]
mod tests {
    use super::super::measure::Cost;
    use super::super::rounds::Sample;
    use super::super::tool::Name;
    use super::*;

    #[test]
    fn bars_are_as_long_as_ratios() {
        let sample = |tool, wall| Sample {
            tool,
            step: Step::First,
            cost: Cost { wall, cpu: 10.0 * wall, memory: 1 },
            stored: 1,
            objects: 1,
            added: 1,
        };
        let samples = vec![sample(Name::Icecore, 1.0), sample(Name::Borg, 4.0)];
        let results = Results { samples, ..Results::default() };
        let tools = [(Name::Icecore, "a".to_owned()), (Name::Borg, "b".to_owned())];
        let text = svg(&Heading { rounds: 1, cores: 2, tools: &tools }, &results);
        let full = (WIDTH - NAMES_WIDTH) / 2.0 - 110.0;
        for width in [full / 8.0, full / 2.0] {
            assert_eq!(text.matches(&format!(r#"width="{width:.1}""#)).count(), 2, "{text}");
        }
        assert!(text.contains("4.0 (4.00 s)") && text.contains("4.0 (40.00 s)"));
        assert!(text.starts_with("<svg") && text.trim_end().ends_with("</svg>"));
    }
}
