//! Text files as people's programs write them.
//!
//! PowerShell 5's `>` writes UTF-16, and some editors begin a file with a byte order mark. What the AWS CLI prints has often gone
//! through one of these.

use std::{fs, path::Path};

use anyhow::{Context, Result, bail};

/// Reads a text file: UTF-8, or UTF-16 that begins with its byte order mark.
///
/// # Errors
/// When the file can't be read, is compressed or is no text.
pub(crate) fn read(path: &Path) -> Result<String> {
    decode(fs::read(path)?)
}

fn decode(bytes: Vec<u8>) -> Result<String> {
    match bytes.as_slice() {
        [0xFF, 0xFE, text @ ..] => utf_16(text, u16::from_le_bytes),
        [0xFE, 0xFF, text @ ..] => utf_16(text, u16::from_be_bytes),
        [0x1F, 0x8B, ..] => bail!("it is compressed by gzip; unpack it first, as by gunzip"),
        [0xEF, 0xBB, 0xBF, text @ ..] => decode(text.to_vec()),
        _ => String::from_utf8(bytes).context("it is no UTF-8 text"),
    }
}

fn utf_16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String> {
    let (pairs, []) = bytes.as_chunks() else { bail!("it is UTF-16, but its last character is cut off") };
    let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
    String::from_utf16(&units).context("it begins as UTF-16, but goes on otherwise")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_however_it_was_written() {
        let units = |of: fn(u16) -> [u8; 2]| "\u{feff}{é}".encode_utf16().flat_map(of).collect::<Vec<u8>>();
        for bytes in ["{é}".into(), "\u{feff}{é}".into(), units(u16::to_le_bytes), units(u16::to_be_bytes)] {
            assert_eq!(decode(bytes).unwrap(), "{é}");
        }
    }

    #[test]
    fn what_is_no_text_is_told_with_its_cure() {
        for (bytes, told) in [
            (&b"\x1f\x8b\x08"[..], "it is compressed by gzip; unpack it first"),
            (b"{\"\xe9\": 1}", "it is no UTF-8 text"),
            (b"\xff\xfe{", "it is UTF-16, but its last character is cut off"),
            (b"\xff\xfe\x00\xd8{\x00", "it begins as UTF-16, but goes on otherwise"),
        ] {
            let error = decode(bytes.to_vec()).unwrap_err();
            assert!(error.to_string().starts_with(told), "{error}");
        }
    }
}
