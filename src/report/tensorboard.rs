//! TensorBoard event files, written by hand: scalars, animated pictures, text.
//!
//! A file is a row of TFRecords (`tensorflow/core/lib/io/record_writer.h`), all numbers little-endian:
//!
//! | bytes | holds |
//! |---|---|
//! | 8 | n, the length of the data |
//! | 4 | masked CRC32C of those 8 bytes |
//! | n | data: one `Event` in protocol buffer coding |
//! | 4 | masked CRC32C of the data |
//!
//! The messages and field numbers are those of `event.proto`, `summary.proto` and `tensor.proto` of TensorFlow. The first
//! event states the version of the format. Values that are not finite are written as they are: TensorBoard draws them as marks.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::base::Result;
use crate::base::files::Log;

/// When a value was measured: the step, and the wall clock in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stamp {
    /// Environment steps.
    pub step: u64,
    /// Seconds since 1970.
    pub wall_time: f64,
}

impl Stamp {
    /// This step, now.
    pub fn now(step: u64) -> Self {
        let wall_time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
        Stamp { step, wall_time }
    }
}

/// The writer of one event file. Its name must contain `tfevents`, or TensorBoard passes it by.
#[derive(Debug)]
pub struct EventFile {
    log: Log,
}

impl EventFile {
    /// Opens the file, cutting off what lies behind `length` bytes: 0 for a fresh run, else the length in the checkpoint.
    pub fn open_at(path: &Path, length: u64) -> Result<Self> {
        assert!(path.to_string_lossy().contains(".tfevents."), "{} is no name of an event file", path.display());
        let mut log = Log::open(path, Some(length))?;
        if log.durable_length()? == 0 {
            let mut event = Message::default();
            event.double(1, Stamp::now(0).wall_time).bytes(3, b"brain.Event:2");
            log.append(&record(&event.bytes))?;
        }
        Ok(EventFile { log })
    }

    /// One point of the curve `tag`.
    pub fn scalar(&mut self, at: Stamp, tag: &str, value: f64) -> Result<()> {
        self.log.append(&scalar_record(at, tag, value))
    }

    /// A picture under `tag`. `encoded` is the whole of a PNG or GIF file; TensorBoard plays an animated GIF.
    pub fn image(&mut self, at: Stamp, tag: &str, width: usize, height: usize, encoded: &[u8]) -> Result<()> {
        let mut image = Message::default();
        // Colour space 3 is RGB.
        image.varint(1, height as u64).varint(2, width as u64).varint(3, 3).bytes(4, encoded);
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes()).bytes(4, &image.bytes);
        self.log.append(&summary_record(at, &value))
    }

    /// A text under `tag`, shown as Markdown.
    pub fn text(&mut self, at: Stamp, tag: &str, markdown: &str) -> Result<()> {
        let mut plugin = Message::default();
        plugin.bytes(1, b"text");
        let mut metadata = Message::default();
        // Data class 2 is "tensor".
        metadata.bytes(1, &plugin.bytes).varint(4, 2);
        let mut dimension = Message::default();
        dimension.varint(1, 1);
        let mut shape = Message::default();
        shape.bytes(2, &dimension.bytes);
        let mut tensor = Message::default();
        // Type 7 is DT_STRING.
        tensor.varint(1, 7).bytes(2, &shape.bytes).bytes(8, markdown.as_bytes());
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes()).bytes(8, &tensor.bytes).bytes(9, &metadata.bytes);
        self.log.append(&summary_record(at, &value))
    }

    /// The length for a checkpoint, all of it durable.
    pub fn durable_length(&mut self) -> Result<u64> {
        self.log.durable_length()
    }
}

fn scalar_record(at: Stamp, tag: &str, value: f64) -> Vec<u8> {
    let mut summary = Message::default();
    summary.bytes(1, tag.as_bytes()).float(2, value as f32);
    summary_record(at, &summary)
}

/// The record of an event that holds a summary of one value.
fn summary_record(at: Stamp, value: &Message) -> Vec<u8> {
    let mut summary = Message::default();
    summary.bytes(1, &value.bytes);
    let mut event = Message::default();
    event.double(1, at.wall_time).varint(2, at.step).bytes(5, &summary.bytes);
    record(&event.bytes)
}

/// The fields of one protocol buffer message, in wire format.
#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn varint(&mut self, field: u64, value: u64) -> &mut Self {
        self.raw_varint(field << 3);
        self.raw_varint(value);
        self
    }

    fn double(&mut self, field: u64, value: f64) -> &mut Self {
        self.raw_varint(field << 3 | 1);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    fn bytes(&mut self, field: u64, value: &[u8]) -> &mut Self {
        self.raw_varint(field << 3 | 2);
        self.raw_varint(value.len() as u64);
        self.bytes.extend(value);
        self
    }

    fn float(&mut self, field: u64, value: f32) -> &mut Self {
        self.raw_varint(field << 3 | 5);
        self.bytes.extend(value.to_le_bytes());
        self
    }

    /// Seven bits a byte, low ones first; the top bit says that more follow.
    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = Vec::with_capacity(data.len() + 16);
    out.extend(length);
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(data);
    out.extend(masked(crc32c(data)).to_le_bytes());
    out
}

/// A CRC of data that itself holds CRCs is weak, so stored ones are rotated and shifted (`tensorflow/core/lib/hash/crc32c.h`).
fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The table of CRC32C, Castagnoli's polynomial 0x1EDC6F41 in reversed bit order (RFC 3720, appendix B.4).
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn crc32c(data: &[u8]) -> u32 {
    !data.iter().fold(!0, |crc: u32, byte| CRC_TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Test vectors of RFC 3720, appendix B.4.
    #[test]
    fn crc32c_agrees_with_the_rfc() {
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(&(0..32).collect::<Vec<u8>>()), 0x46dd_794e);
        assert_eq!(crc32c(&(0..32).rev().collect::<Vec<u8>>()), 0x113f_db5c);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    /// The first record of event files: this is what TensorFlow writes in front of an event of 24 bytes.
    #[test]
    fn a_record_of_24_bytes_begins_as_tensorflow_begins_it() {
        let framed = record(&[7; 24]);
        assert_eq!(framed.len(), 8 + 4 + 24 + 4);
        assert_eq!(&framed[..12], &[0x18, 0, 0, 0, 0, 0, 0, 0, 0xa3, 0x7f, 0x4b, 0x22]);
    }

    /// The bytes that Google's protobuf package serialises for the same event.
    #[test]
    fn a_scalar_event_has_the_bytes_of_protobuf() {
        let framed = scalar_record(Stamp { step: 300, wall_time: 2.5 }, "agent/div", -1.5);
        let data = &framed[12..framed.len() - 4];
        let want =
            b"\x09\x00\x00\x00\x00\x00\x00\x04\x40\x10\xac\x02\x2a\x12\x0a\x10\x0a\x09agent/div\x15\x00\x00\xc0\xbf";
        assert_eq!(data, want);
    }
}
