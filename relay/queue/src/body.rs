//! Bodies: header and body of a message exactly as they are to be sent, in chunks, compressed where it pays.
//! **Owns:** `b:ID` keys, their chunks, TTL and compression. **Never:** lets a body pass through Lua, or changes a byte of it.
//! Chunks are written while DATA arrives, with a TTL; enqueue makes them permanent. A body of one chunk waits here and goes in
//! the same round trip as its enqueue.

pub(crate) mod leftovers;

use std::time::Duration;

use bytes::Bytes;
use postrider_mail::QueueId;
use redis::Value;
use tokio::time::Instant;

use crate::{
    answer,
    connection::{CALL_LIMIT, Purpose, millis},
    error::Unavailable,
    partition::Partition,
};

/// Bytes of a chunk before compression.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Header and body of a message, as they are to be sent. Cloning shares.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Body {
    chunks: Vec<Bytes>,
}

/// A body on its way into a partition. Dropped unfinished, what was written is removed, or goes away by itself.
#[derive(Debug)]
pub struct BodyWriter {
    partition: Partition,
    id: QueueId,
    /// What isn't in the store yet; less than a chunk between calls.
    buffer: Vec<u8>,
    chunks: u32,
    len: u64,
    /// When the chunks in the store last got their whole TTL.
    renewed: Instant,
}

/// A body that is in the store, or ready to go there with its enqueue.
#[derive(Debug)]
pub struct StoredBody {
    id: QueueId,
    /// Chunks that are in the store.
    written: u32,
    /// The ones behind them, encoded.
    ahead: Vec<Vec<u8>>,
}

/// Why a message has no body that can be sent.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The store gave no answer.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The store is full.
    #[error("the queue's store is full")]
    Full,
    /// A chunk isn't there: the message has ended, or the store lost it.
    #[error("chunk {chunk} of the body of {id} is not in the queue")]
    Missing {
        /// The message.
        id: QueueId,
        /// Which chunk.
        chunk: u32,
    },
    /// A chunk can't be read.
    #[error("chunk {chunk} of the body of {id} can't be read: {what}")]
    Unreadable {
        /// The message.
        id: QueueId,
        /// Which chunk.
        chunk: u32,
        /// What was found.
        what: Box<str>,
    },
}

impl Body {
    /// A body from its parts.
    pub fn from_chunks(chunks: Vec<Bytes>) -> Self {
        Self { chunks }
    }

    /// Its parts, in order; none is empty.
    pub fn chunks(&self) -> &[Bytes] {
        &self.chunks
    }

    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    /// Whether there is nothing of it.
    pub fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }
}

impl BodyWriter {
    /// Takes the next bytes. Writes whole chunks to the store, and renews the ones written before.
    ///
    /// # Errors
    /// If the store is full or gave no answer: the transaction is over.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), BodyError> {
        self.len += bytes.len() as u64;
        while self.buffer.len() + bytes.len() > CHUNK_BYTES {
            let (now, later) = bytes.split_at(CHUNK_BYTES - self.buffer.len());
            self.buffer.extend_from_slice(now);
            bytes = later;
            self.flush().await?;
        }
        self.buffer.extend_from_slice(bytes);
        self.renew().await
    }

    /// Bytes taken so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was taken so far.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the body. What is left of it goes with the enqueue.
    pub fn finish(mut self) -> StoredBody {
        let ahead = if self.buffer.is_empty() { Vec::new() } else { vec![encode(&[&self.buffer])] };
        // No longer this writer's to remove.
        StoredBody { id: self.id.clone(), written: std::mem::take(&mut self.chunks), ahead }
    }

    async fn flush(&mut self) -> Result<(), BodyError> {
        let mut set = redis::cmd("SET");
        set.arg(self.partition.keys().body(&self.id, self.chunks)).arg(encode(&[&self.buffer]));
        set.arg("PX").arg(millis(CHUNK_TTL));
        match self.partition.connections().command(Purpose::Enqueue, &set, CALL_LIMIT).await {
            Ok(_) => {}
            Err(why) if why.is_full() => return Err(BodyError::Full),
            Err(why) => return Err(why.into()),
        }
        self.chunks += 1;
        self.buffer.clear();
        Ok(())
    }

    async fn renew(&mut self) -> Result<(), BodyError> {
        if self.chunks == 0 || self.renewed.elapsed() < CHUNK_RENEW {
            return Ok(());
        }
        self.renewed = Instant::now();
        let mut all = redis::Pipeline::new();
        for chunk in 0..self.chunks {
            all.cmd("PEXPIRE").arg(self.partition.keys().body(&self.id, chunk)).arg(millis(CHUNK_TTL));
        }
        let answers = self.partition.connections().pipeline(Purpose::Enqueue, &all, CALL_LIMIT).await?;
        match answers.into_iter().zip(0..).find(|(answer, _)| *answer != Value::Int(1)) {
            Some((_, chunk)) => Err(BodyError::Missing { id: self.id.clone(), chunk }),
            None => Ok(()),
        }
    }
}

impl Drop for BodyWriter {
    fn drop(&mut self) {
        if self.chunks > 0 {
            self.partition.leftovers().add(self.id.clone(), self.chunks);
        }
    }
}

impl StoredBody {
    /// Whose it is.
    pub fn id(&self) -> &QueueId {
        &self.id
    }

    /// Chunks, in the store and to come.
    pub(crate) fn chunks(&self) -> u32 {
        self.written + u32::try_from(self.ahead.len()).unwrap_or(u32::MAX)
    }

    /// What goes in the round trip of the enqueue, with its chunk number.
    pub(crate) fn ahead(&self) -> impl Iterator<Item = (u32, &[u8])> {
        (self.written..).zip(self.ahead.iter().map(Vec::as_slice))
    }
}

impl Partition {
    /// Starts the body of a message that is named `id`.
    pub fn body_writer(&self, id: &QueueId) -> BodyWriter {
        BodyWriter {
            partition: self.clone(),
            id: id.clone(),
            buffer: Vec::new(),
            chunks: 0,
            len: 0,
            renewed: Instant::now(),
        }
    }

    /// A body that is all in memory, to go in the same round trip as its enqueue. For small ones: the store takes it in whole.
    pub fn ready_body(&self, id: &QueueId, body: &Body) -> StoredBody {
        let mut ahead = Vec::new();
        let mut chunk: Vec<&[u8]> = Vec::new();
        let mut room = CHUNK_BYTES;
        for mut part in body.chunks.iter().map(Bytes::as_ref) {
            while part.len() > room {
                let (now, later) = part.split_at(room);
                chunk.push(now);
                ahead.push(encode(&std::mem::take(&mut chunk)));
                (part, room) = (later, CHUNK_BYTES);
            }
            room -= part.len();
            chunk.push(part);
        }
        if chunk.iter().any(|part| !part.is_empty()) {
            ahead.push(encode(&chunk));
        }
        StoredBody { id: id.clone(), written: 0, ahead }
    }

    /// Reads the body of a message back, byte for byte as it was written.
    ///
    /// # Errors
    /// If the store gave no answer, or the body isn't there.
    pub async fn load_body(&self, id: &QueueId) -> Result<Body, BodyError> {
        let mut first = redis::Pipeline::new();
        first.cmd("HGET").arg(self.keys().message(id)).arg("k");
        first.cmd("GET").arg(self.keys().body(id, 0));
        let mut answers = self.connections().pipeline(Purpose::Admin, &first, CALL_LIMIT).await?.into_iter();
        let missing = |chunk| BodyError::Missing { id: id.clone(), chunk };
        let count = answer::optional_bytes(answers.next().unwrap_or_default())?.ok_or_else(|| missing(0))?;
        let count: u32 = answer::parsed(&String::from_utf8_lossy(&count))?;
        // The count is the store's word, of which no memory is taken before the chunks are there.
        let mut chunks = Vec::new();
        let mut loaded: Vec<Value> = answers.collect();
        while (chunks.len() as u64) < u64::from(count) {
            for value in std::mem::take(&mut loaded) {
                let chunk = u32::try_from(chunks.len()).unwrap_or(u32::MAX);
                let bytes = answer::optional_bytes(value)?.ok_or_else(|| missing(chunk))?;
                let bytes =
                    decode(bytes).map_err(|what| BodyError::Unreadable { id: id.clone(), chunk, what })?;
                chunks.push(bytes);
            }
            let mut next = redis::Pipeline::new();
            for chunk in (u32::try_from(chunks.len()).unwrap_or(u32::MAX)..count).take(CHUNKS_A_READ) {
                next.cmd("GET").arg(self.keys().body(id, chunk));
            }
            if !next.is_empty() {
                loaded = self.connections().pipeline(Purpose::Admin, &next, CALL_LIMIT).await?;
            }
        }
        Ok(Body { chunks })
    }
}

/// A chunk as stored: `l` and LZ4 with its length in front where that is an eighth smaller at least, else `r` and the bytes.
pub fn encode(parts: &[&[u8]]) -> Vec<u8> {
    let len = parts.iter().map(|part| part.len()).sum::<usize>();
    let mut raw = Vec::with_capacity(len + 1);
    raw.push(RAW);
    parts.iter().for_each(|part| raw.extend_from_slice(part));
    if len < COMPRESS_FROM_BYTES {
        return raw;
    }
    let packed = lz4_flex::block::compress_prepend_size(&raw[1..]);
    if packed.len() + len / 8 > len {
        return raw;
    }
    let mut stored = Vec::with_capacity(packed.len() + 1);
    stored.push(LZ4);
    stored.extend_from_slice(&packed);
    stored
}

/// A chunk as it was before it was stored.
///
/// # Errors
/// It can't be read, or says that it is larger than [`CHUNK_BYTES`].
pub fn decode(stored: Vec<u8>) -> Result<Bytes, Box<str>> {
    match stored.split_first() {
        Some((&RAW, _)) => Ok(Bytes::from(stored).slice(1..)),
        Some((&LZ4, packed)) => {
            let (len, _) = lz4_flex::block::uncompressed_size(packed).map_err(|why| why.to_string())?;
            if len > CHUNK_BYTES {
                return Err(format!("a chunk of {len} bytes; expected at most {CHUNK_BYTES}").into());
            }
            let bytes = lz4_flex::block::decompress_size_prepended(packed).map_err(|why| why.to_string())?;
            Ok(bytes.into())
        }
        Some((mark, _)) => Err(format!("mark {mark}; expected r or l").into()),
        None => Err("nothing; expected a mark".into()),
    }
}

const RAW: u8 = b'r';
const LZ4: u8 = b'l';
/// Below this, compression saves less than it costs.
const COMPRESS_FROM_BYTES: usize = 512;
/// How long chunks live without an enqueue.
pub(crate) const CHUNK_TTL: Duration = Duration::from_secs(600);
/// After this they get their whole TTL again.
const CHUNK_RENEW: Duration = Duration::from_secs(240);
/// Chunks asked for in one round trip: 2 MiB at most.
const CHUNKS_A_READ: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_compressed_and_noise_is_not() {
        let text = b"All work and no play makes Jack a dull boy.\r\n".repeat(100);
        let stored = encode(&[&text]);
        assert!(stored[0] == LZ4 && stored.len() < text.len() / 4);
        assert_eq!(decode(stored).as_deref(), Ok(&text[..]));
        let noise: Vec<u8> = (0..4096).map(|_| rand::random()).collect();
        let stored = encode(&[&noise[..9], &noise[9..]]);
        assert_eq!(stored[0], RAW);
        assert_eq!(decode(stored).as_deref(), Ok(&noise[..]));
    }

    #[test]
    fn a_chunk_that_lies_about_its_size_is_refused() {
        assert!(decode(vec![LZ4, 255, 255, 255, 127, 0]).is_err());
        assert!(decode(vec![]).is_err());
        assert!(decode(vec![b'z', 0]).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_a_panic(bytes: Vec<u8>) {
            let _ = decode(bytes);
        }
    }
}
