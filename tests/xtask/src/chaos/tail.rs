//! The end of an append-only file, as a death amid a write leaves it.
//! **Owns:** finding the last transaction, and writing the beginning of it once more. **Never:** takes away what was written: a
//! server that said it is synced has it.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

const BEGIN: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
const END: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

/// Writes the beginning of the last transaction behind it: up to any byte but the last. Whether there was one.
pub(crate) fn tear(folder: &Path, chance: u64) -> Result<bool> {
    let file = newest(&folder.join("appendonlydir"))?;
    let bytes = fs::read(&file)?;
    let Some(torn) = beginning(&bytes, chance) else { return Ok(false) };
    fs::OpenOptions::new().append(true).open(&file)?.write_all(torn).context("writing the torn end")?;
    Ok(true)
}

fn newest(folder: &Path) -> Result<PathBuf> {
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let parts = files.filter(|path| path.to_string_lossy().ends_with(".incr.aof"));
    let newest = parts.max_by_key(|path| fs::metadata(path).and_then(|data| data.modified()).ok());
    newest.context("the server appends to a file")
}

fn beginning(bytes: &[u8], chance: u64) -> Option<&[u8]> {
    let end = rfind(bytes, END)? + END.len();
    let begin = rfind(bytes.get(..end)?, BEGIN)?;
    let whole = bytes.get(begin..end)?;
    whole.get(..1 + usize::try_from(chance).ok()? % (whole.len() - 1))
}

fn rfind(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).rposition(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{BEGIN, END, beginning, tear};

    #[test]
    fn a_torn_end_is_a_beginning_that_never_is_the_whole() {
        let block = [BEGIN, b"*1\r\n$4\r\nPING\r\n", END].concat();
        let file = [b"*1\r\n$4\r\nPING\r\n", &block[..], b"*1\r\n$4\r\nTIME\r\n"].concat();
        for chance in 0..200 {
            let torn = beginning(&file, chance).expect("there is a transaction");
            assert!(!torn.is_empty() && torn.len() < block.len() && block.starts_with(torn));
        }
        assert_eq!(beginning(b"*1\r\n$4\r\nPING\r\n", 3), None);
    }

    #[test]
    fn an_end_that_cannot_be_torn_is_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let files = folder.path().join("appendonlydir");
        std::fs::create_dir(&files).expect("it is new");
        let file = files.join("a.1.incr.aof");
        std::fs::write(&file, b"*1\r\n$4\r\nPING\r\n").expect("written");
        assert!(!tear(folder.path(), 3).expect("read"));
        std::fs::write(&file, [BEGIN, END].concat()).expect("written");
        assert!(tear(folder.path(), 3).expect("read"));
        assert_eq!(std::fs::read(&file).expect("read").len(), BEGIN.len() + END.len() + 4);
    }
}
