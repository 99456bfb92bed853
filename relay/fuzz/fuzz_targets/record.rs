//! What the store gives back of messages, deliveries, histories and bodies.
//! **Owns:** what was read, written again, is the same; a delivery has no recipient that its record doesn't name; chunks are bounded.
//! **Never:** what scripts do with it.
//! Input: a message's record, then a delivery's fields, ended by separators; all of it once more as an event and as a chunk.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use postrider_fuzz::parts;
use postrider_queue::{
    Addressee, DeliveryId, Kind, Message,
    body::{self, CHUNK_BYTES},
    inspect::event,
    record::codec::{Raw, decode, encode},
};

/// A message whose record can be read: deliveries need one.
const MESSAGE: &[u8] = br#"1{"f":"a@app.example","x":{"l":"smtp","c":"10.0.0.1","a":1,"s":7}}"#;

fn message(record: &[u8]) -> Arc<Message> {
    if let Ok(message) = decode::<Message>("message", record) {
        assert_eq!(decode::<Message>("message", &encode(&message)).as_ref(), Ok(&message));
        return Arc::new(message);
    }
    Arc::new(decode("message", MESSAGE).expect("the target's own message"))
}

fn delivery(raw: &Raw, message: &Arc<Message>) {
    let id: DeliveryId = "a-01k2v9q8h3m4n5p6r7s8t9v0wx.3".parse().expect("an ID");
    let Ok(read) = raw.read(id.clone(), Arc::clone(message)) else { return };
    let all: Vec<Addressee> = decode("addressees", &raw.addressees).expect("it was read just now");
    assert!(read.recipients.iter().all(|one| all.contains(one)));
    assert!(read.kind == Kind::Message || read.sender().mailbox().is_none(), "a report has no sender");
    let history = decode("history", &encode(&read.history));
    assert_eq!(history.as_ref(), Ok(&read.history));
    let report = decode("report", &encode(&read.report));
    assert_eq!(report.as_ref(), Ok(&read.report));
    // Written as it was read it is the same delivery; what its list leaves out is gone.
    let written = Raw {
        lane: read.lane.to_string().into(),
        expiry: read.expires.unix_millis().to_string().into(),
        addressees: encode(&read.recipients),
        history: encode(&read.history),
        report: encode(&read.report),
        crashes: read.crashes.to_string().into(),
        released: false,
        recipients: raw.recipients.clone(),
    };
    assert_eq!(written.read(id, Arc::clone(message)), Ok(read));
}

fuzz_target!(|input: &[u8]| {
    let [record, lane, expiry, recipients, addressees, history, report, crashes] = parts(input);
    let message = message(record);
    let raw = Raw {
        lane: lane.to_vec(),
        expiry: expiry.to_vec(),
        recipients: recipients.to_vec(),
        addressees: addressees.to_vec(),
        history: history.to_vec(),
        report: report.to_vec(),
        crashes: crashes.to_vec(),
        released: input.len() % 2 == 0,
    };
    delivery(&raw, &message);
    let outcomes = event::decode(input);
    let short = event::encode(&outcomes);
    assert_eq!(event::encode(&event::decode(&short)), short, "cut once is cut");
    if let Ok(chunk) = body::decode(input.to_vec()) {
        assert!(chunk.len() <= input.len().max(CHUNK_BYTES));
    }
    assert_eq!(body::decode(body::encode(&[record, input])).as_deref(), Ok(&*[record, input].concat()));
});
