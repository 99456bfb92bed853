//! Reading the store's answers.
//! **Owns:** from `redis::Value` to plain values, with an error instead of a panic. **Never:** what an answer means.

use redis::Value;

use crate::error::Unavailable;

pub(crate) fn array(value: Value) -> Result<Vec<Value>, Unavailable> {
    match value {
        Value::Array(values) | Value::Set(values) => Ok(values),
        Value::Map(pairs) => Ok(pairs.into_iter().flat_map(|(key, value)| [key, value]).collect()),
        other => Err(Unavailable::unreadable(shape(&other), "an array")),
    }
}

pub(crate) fn bytes(value: Value) -> Result<Vec<u8>, Unavailable> {
    match value {
        Value::BulkString(bytes) => Ok(bytes),
        Value::SimpleString(text) => Ok(text.into_bytes()),
        Value::Okay => Ok(b"OK".to_vec()),
        Value::Int(number) => Ok(number.to_string().into_bytes()),
        other => Err(Unavailable::unreadable(shape(&other), "a string")),
    }
}

pub(crate) fn optional_bytes(value: Value) -> Result<Option<Vec<u8>>, Unavailable> {
    match value {
        Value::Nil | Value::Boolean(false) => Ok(None),
        value => bytes(value).map(Some),
    }
}

pub(crate) fn text(value: Value) -> Result<String, Unavailable> {
    String::from_utf8(bytes(value)?).map_err(|_| Unavailable::unreadable("bytes that are no UTF-8", "text"))
}

pub(crate) fn number(value: Value) -> Result<u64, Unavailable> {
    match value {
        Value::Int(number) => {
            u64::try_from(number).map_err(|_| Unavailable::unreadable(number, "a number that isn't negative"))
        }
        value => parsed(&text(value)?),
    }
}

/// A score: the store prints it as a number with a point where it must.
pub(crate) fn score(value: Value) -> Result<u64, Unavailable> {
    match value {
        Value::Double(score) => Ok(whole(score)),
        value => {
            let text = text(value)?;
            text.parse().map(whole).map_err(|_| Unavailable::unreadable(format_args!("{text:?}"), "a score"))
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "scores are milliseconds and counts below 2^53"
)]
fn whole(score: f64) -> u64 {
    score.max(0.0) as u64
}

pub(crate) fn parsed<T: std::str::FromStr>(text: &str) -> Result<T, Unavailable> {
    text.parse().map_err(|_| {
        let found = text.chars().take(80).collect::<String>();
        Unavailable::unreadable(format_args!("{found:?}"), std::any::type_name::<T>())
    })
}

/// The values of a script's answer, one after the other.
pub(crate) struct Fields(std::vec::IntoIter<Value>);

impl Fields {
    pub(crate) fn of(value: Value) -> Result<Self, Unavailable> {
        array(value).map(|values| Self(values.into_iter()))
    }

    pub(crate) fn value(&mut self) -> Result<Value, Unavailable> {
        self.0.next().ok_or_else(|| Unavailable::unreadable("too few values", "one more"))
    }

    pub(crate) fn text(&mut self) -> Result<String, Unavailable> {
        text(self.value()?)
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, Unavailable> {
        bytes(self.value()?)
    }

    pub(crate) fn number(&mut self) -> Result<u64, Unavailable> {
        number(self.value()?)
    }
}

const fn shape(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) | Value::Set(_) => "an array",
        Value::Map(_) => "a map",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
        Value::ServerError(_) => "an error",
        _ => "something else",
    }
}
