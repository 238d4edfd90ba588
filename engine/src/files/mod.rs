//! Local files: finds photos, reads them and writes them back; also the private files of icecore.

pub mod beside;
pub mod cut;
pub mod exclude;
mod forms;
mod gather;
mod globs;
mod held;
mod links;
pub mod litter;
mod long;
mod metadata;
mod output;
pub mod private;
pub mod scan;
pub mod source;
mod sqlite;
pub mod target;
mod temp;

pub use beside::{Beside, Journals, Sight};
pub use cut::{ReadBuffer, Reading, WasRead, cut_file};
pub use exclude::{Exclude, ExcludeOptions};
pub(crate) use forms::normal;
pub use forms::{composed, forms, is_alike, on_disk};
pub use gather::{Gathered, LocalFile, gather};
pub use globs::{Globs, LeftOut};
pub use links::{Links, NoFolder};
pub use output::{Extent, Output};
pub use scan::{Found, Ignore, Stat};
pub use source::SourceFile;
pub use sqlite::{Database, NoCopy, is_database};
pub use target::{Folder, OwnFolder};
pub use temp::{TempFile, is_temporary};
