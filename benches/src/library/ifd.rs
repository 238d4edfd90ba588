//! A small writer of TIFF image file directories, the frame of raws, TIFFs and EXIF.

/// One entry: tag, type, count and the value's bytes, little-endian.
struct Entry {
    tag: u16,
    kind: u16,
    count: u32,
    data: Vec<u8>,
}

/// A directory under construction. Entries must be added in ascending order of tags.
#[derive(Default)]
pub struct Ifd(Vec<Entry>);

impl Ifd {
    pub fn text(mut self, tag: u16, text: &str) -> Self {
        let mut data = text.as_bytes().to_vec();
        data.push(0);
        self.push(tag, 2, data.len(), data);
        self
    }

    pub fn short(mut self, tag: u16, values: &[u16]) -> Self {
        let data = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        self.push(tag, 3, values.len(), data);
        self
    }

    pub fn long(mut self, tag: u16, value: u32) -> Self {
        self.push(tag, 4, 1, value.to_le_bytes().to_vec());
        self
    }

    pub fn rational(mut self, tag: u16, over: u32, under: u32) -> Self {
        let mut data = over.to_le_bytes().to_vec();
        data.extend(under.to_le_bytes());
        self.push(tag, 5, 1, data);
        self
    }

    pub fn bytes(mut self, tag: u16, data: Vec<u8>) -> Self {
        self.push(tag, 7, data.len(), data);
        self
    }

    fn push(&mut self, tag: u16, kind: u16, count: usize, data: Vec<u8>) {
        debug_assert!(self.0.last().is_none_or(|last| last.tag < tag));
        self.0.push(Entry { tag, kind, count: count as u32, data });
    }

    /// Returns how many bytes `write` appends.
    pub fn len(&self) -> usize {
        let outside = |e: &Entry| match e.data.len() {
            0..=4 => 0,
            n => n + n % 2,
        };
        2 + self.0.len() * 12 + 4 + self.0.iter().map(outside).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends the directory, which begins `at` bytes after the start of the TIFF header.
    pub fn write(&self, out: &mut Vec<u8>, at: usize) {
        let mut outside = at + 2 + self.0.len() * 12 + 4;
        let mut tail = Vec::new();
        out.extend((self.0.len() as u16).to_le_bytes());
        for entry in &self.0 {
            out.extend(entry.tag.to_le_bytes());
            out.extend(entry.kind.to_le_bytes());
            out.extend(entry.count.to_le_bytes());
            if entry.data.len() <= 4 {
                let mut value = [0; 4];
                value[..entry.data.len()].copy_from_slice(&entry.data);
                out.extend(value);
            } else {
                out.extend((outside as u32).to_le_bytes());
                tail.extend(&entry.data);
                if entry.data.len() % 2 == 1 {
                    tail.push(0);
                }
                outside = at + 2 + self.0.len() * 12 + 4 + tail.len();
            }
        }
        out.extend([0; 4]); // no next directory
        out.extend(tail);
    }
}

/// The eight bytes that begin a little-endian TIFF whose first directory follows immediately.
pub const TIFF_HEADER: [u8; 8] = *b"II\x2a\0\x08\0\0\0";
