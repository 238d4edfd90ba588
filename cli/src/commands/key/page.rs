//! The content of the page that opens the archive, for someone who has nothing else years later. [`super::render`] does
//! the layout.

use icecore_engine::codec::Identity;
use icecore_engine::format::{LogHead, RepositoryId};
use icecore_engine::store::{ClassFacts, Location, Provider, ThawNeed, Tier};
use zeroize::Zeroizing;

use crate::shell;

/// Maximum number of characters on a line of the page.
pub const COLUMNS: usize = 76;
/// Number of columns by which commands are indented.
pub const INDENT: usize = 4;

/// A part of the page.
pub enum Block {
    Heading(String),
    /// A paragraph, wrapped.
    Text(String),
    /// Known facts with their names.
    Rows(Vec<(&'static str, String)>),
    /// Fields to fill in by hand.
    Fields(Vec<&'static str>),
    /// Commands to type exactly as printed.
    Commands(Vec<String>),
    /// The identity in groups of characters.
    Identity(Vec<Zeroizing<String>>),
    /// The identity as a code to scan.
    Code(Zeroizing<String>),
}

/// Facts about the archive when its page is printed.
pub struct Facts<'a> {
    pub identity: &'a Identity,
    pub repository: RepositoryId,
    /// The location of the archive; the full path if it is a folder.
    pub location: &'a Location,
    /// Environment variables that are needed to reach the store, except keys.
    pub settings: Vec<(String, String)>,
    /// The class of photo data.
    pub pack_class: &'a str,
    /// The place of the second copy that the profile names.
    pub copy: Option<String>,
    pub head: Option<LogHead>,
    pub printed: String,
    pub host: String,
    /// The path of this program.
    pub program: String,
}

/// Makes the page.
pub fn page(facts: &Facts) -> Vec<Block> {
    let mut blocks = vec![
        Block::Text("This page opens the whole archive without a password. Keep it on paper, outside the house and away from the computer: anyone who has it can read every photo. Without this page and without the password, the archive cannot be read.".to_owned()),
        // The code comes first, because a page break in the middle of a code of text would make it unreadable.
        Block::Heading("The identity".to_owned()),
        Block::Text("Scan the code, or type the three lines. Spaces, hyphens and case do not matter, and O is read as 0. A typing mistake is detected.".to_owned()),
        Block::Identity(facts.identity.to_groups()),
        Block::Code(facts.identity.to_text()),
        Block::Heading("The archive".to_owned()),
        Block::Rows(rows(facts)),
        Block::Heading("Fill in by hand".to_owned()),
        Block::Fields(fields(facts.location)),
        Block::Heading("To get everything back on another computer".to_owned()),
    ];
    blocks.extend(steps(facts));
    blocks
}

fn rows(facts: &Facts) -> Vec<(&'static str, String)> {
    let mut rows =
        vec![("archive", facts.location.to_string()), ("id", facts.repository.to_string())];
    let setting = |name: &str| {
        facts.settings.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone())
    };
    match facts.location.provider() {
        None => {}
        Some(Provider::S3) => {
            let endpoint = setting("AWS_ENDPOINT_URL");
            rows.push(("region", setting("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned())));
            rows.push(("endpoint", endpoint.unwrap_or_else(|| "that of Amazon S3".to_owned())));
        }
        Some(Provider::Gcs) => rows.push(("endpoint", "that of Google Cloud Storage".to_owned())),
        Some(Provider::Azure) => rows.push(("endpoint", "that of Azure Blob Storage".to_owned())),
    }
    if facts.location.is_remote() {
        rows.push(("photos are in", format!("the storage class {}", facts.pack_class)));
    }
    if let Some(copy) = &facts.copy {
        rows.push(("second copy", copy.clone()));
    }
    rows.push((
        "log head",
        match &facts.head {
            Some(head) => head.to_string(),
            None => "none yet: print the page again after the first snapshot".to_owned(),
        },
    ));
    rows.push(("printed", format!("{} on {}", facts.printed, facts.host)));
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    rows.push((
        "program",
        format!("icecore {version} for {os} on {arch}; here it is {}", facts.program),
    ));
    rows
}

fn fields(location: &Location) -> Vec<&'static str> {
    let mut fields = match location {
        Location::Folder(_) => vec!["disk or NAS", "where it is kept", "user of the NAS"],
        Location::Bucket { .. } => {
            vec!["account, number", "account, e-mail", "user for restores", "where its keys are"]
        }
    };
    fields.push("copy of icecore");
    fields
}

fn steps(facts: &Facts) -> Vec<Block> {
    let mut steps = PageSteps { number: 0, blocks: Vec::new() };
    let version = env!("CARGO_PKG_VERSION");
    steps.say(&format!(
        "Install icecore {version} or newer from the copy that is named above, or build it from its source (`cargo install --path cli`). Without the program, format-spec.md in its source describes every byte, and about 600 lines of Python beside it restore the archive."
    ));
    steps.say("Save the identity to a file identity.txt in the folder where you work: with a text editor, or type `cat > identity.txt`, the three lines, Enter, and Ctrl-D. One line or three, with or without spaces or a line break at the end, are all read.");
    steps.say(match facts.location {
        Location::Folder(_) => {
            "Set the place of the archive. If its disk is mounted in another place now, write that one:"
        }
        Location::Bucket { .. } => "Set the place of the archive:",
    });
    let mut lines = Vec::new();
    for (name, value) in &facts.settings {
        lines.extend(export(name, value));
    }
    lines.extend(export("ICECORE_REPOSITORY", &facts.location.to_string()));
    lines.extend(export("ICECORE_IDENTITY", "identity.txt"));
    if let Some(head) = &facts.head {
        lines.extend(export("ICECORE_EXPECT_HEAD", &head.to_string()));
    }
    steps.run(lines);
    // The policy in this text depends on the location of the archive.
    if let Some(keys) = keys(facts) {
        steps.say(&keys);
    }
    steps.say(match &facts.head {
        Some(_) => "List the snapshots. ICECORE_EXPECT_HEAD is the log head of this page: icecore refuses an archive that is older than the page, or another archive.",
        None => "List the snapshots:",
    });
    steps.run(vec!["icecore snapshots".to_owned()]);
    let provider = facts.location.provider();
    let class = provider.and_then(|provider| ClassFacts::find(provider, facts.pack_class));
    match class.filter(|class| class.thaw != ThawNeed::None) {
        Some(class) if provider == Some(Provider::S3) => frozen(&mut steps, facts, class),
        Some(_) => {
            steps.say("The photos are frozen. Move packs/ to a class that can be read at once, with the provider's own tools. Then restore everything:");
            steps.run(vec!["icecore restore latest --target photos".to_owned()]);
        }
        None => {
            steps.say("Restore everything into a new folder named photos:");
            steps.run(vec!["icecore restore latest --target photos".to_owned()]);
        }
    }
    steps.say("If `icecore snapshots` shows several hosts or sets of folders, `latest` is the newest of them all: restore the others too, each into its own folder, by their ids or with --host and --path.");
    steps.blocks
}

/// Describes which keys of the provider are needed.
fn keys(facts: &Facts) -> Option<String> {
    Some(match facts.location.provider()? {
        Provider::S3 => "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to keys of a user who may read the bucket. New keys are created in the AWS account; `icecore policy restore` prints the rights that the user needs.".to_owned(),
        Provider::Gcs => "Set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account that may read the bucket.".to_owned(),
        Provider::Azure => "Set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY to those of the storage account.".to_owned(),
    })
}

fn frozen(steps: &mut PageSteps, facts: &Facts, class: &ClassFacts) {
    let (bulk, standard) = (Tier::Bulk.hours(class), Tier::Standard.hours(class));
    let name = facts.pack_class;
    let is_amazon = !facts.settings.iter().any(|(key, _)| key == "AWS_ENDPOINT_URL");
    let price = match is_amazon {
        true => {
            " One terabyte cost about $99 in us-east-1 in November 2026, nine tenths of it for the download; 100 GB a month are free."
        }
        false => "",
    };
    steps.say(&format!(
        "The photos are frozen ({name}) and must be thawed before they can be read. See what that costs; nothing is paid for yet.{price}"
    ));
    steps.run(vec!["icecore restore latest --target photos --plan".to_owned()]);
    steps.say("If an old disk still has some of the photos, add --seed and its folder to the command above and to the next one: photos found there are neither thawed nor downloaded.");
    steps.say(&format!(
        "Request the thaw, which takes up to {bulk} hours (up to {standard} with --tier standard, for more). USD is the most that you will pay, in dollars: the total that the last command has shown, or more; if it has shown no price, leave --max-cost out, and icecore asks. The command ends at once, with exit code 20, and prints the id of a job:"
    ));
    steps.run(vec!["icecore restore latest --target photos --detach --max-cost USD".to_owned()]);
    steps.say("List the job, look at what is thawed by now, and download it. ID is the id of the job. Repeat the last two commands until everything is restored:");
    let jobs = ["icecore jobs", "icecore jobs ID", "icecore jobs resume ID"];
    steps.run(jobs.map(str::to_owned).to_vec());
}

/// Numbers the steps of the instructions.
struct PageSteps {
    number: u32,
    blocks: Vec<Block>,
}

impl PageSteps {
    fn say(&mut self, text: &str) {
        self.number += 1;
        self.blocks.push(Block::Text(format!("{}. {text}", self.number)));
    }

    fn run(&mut self, commands: Vec<String>) {
        self.blocks.push(Block::Commands(commands));
    }
}

/// Returns the shell commands that export a variable, split into several lines if necessary.
fn export(name: &str, value: &str) -> Vec<String> {
    let whole = format!("export {name}={}", shell::word(value));
    if whole.chars().count() + INDENT <= COLUMNS {
        return vec![whole];
    }
    let mut lines = Vec::new();
    let mut part = String::new();
    let line = |part: &str, is_first: bool| {
        let before = if is_first { String::new() } else { format!("${{{name}}}") };
        format!("{name}={before}{}", shell::word(part))
    };
    for c in value.chars() {
        part.push(c);
        if line(&part, lines.is_empty()).chars().count() + INDENT > COLUMNS {
            part.pop();
            lines.push(line(&part, lines.is_empty()));
            part = c.to_string();
        }
    }
    lines.push(line(&part, lines.is_empty()));
    lines.push(format!("export {name}"));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_variable_is_exported_in_parts() {
        assert_eq!(export("A", "b c"), ["export A='b c'"]);
        let long = "s3://bucket/".to_owned() + &"a folder's/".repeat(20);
        let lines = export("ICECORE_REPOSITORY", &long);
        assert!(lines.len() > 3, "{lines:?}");
        assert!(lines.iter().all(|line| line.chars().count() + INDENT <= COLUMNS), "{lines:?}");
        let script = format!("{}\nprintf %s \"$ICECORE_REPOSITORY\"", lines.join("\n"));
        let ran = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        assert_eq!(String::from_utf8(ran.stdout).as_deref(), Ok(&*long));
    }
}
