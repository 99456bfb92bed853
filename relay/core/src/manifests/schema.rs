//! The API server's structural checks, by the schema that it has.
//! **Owns:** types, bounds, patterns, enums, required and unknown fields, list keys. **Never:** CEL (compile checks what that says).

use std::collections::HashSet;

use postrider_crds::text;
use serde_json::{Map, Value};

use crate::compile::{Problem, shown};

/// Enough to see what is wrong; a file of another kind would else tell of every line.
const MOST_PROBLEMS: usize = 50;
/// Lists of more names aren't shown.
const MOST_NAMES: usize = 24;

/// What is wrong with a value, by its schema.
pub(super) fn check(schema: &Value, path: &str, value: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_value(schema, path, value, &mut problems);
    problems.truncate(MOST_PROBLEMS);
    problems
}

fn check_value(schema: &Value, path: &str, value: &Value, problems: &mut Vec<Problem>) {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        match value {
            Value::Number(number) if number.is_u64() => {}
            Value::String(text) => check_text(schema, path, text, problems),
            _ => problems.push(Problem::invalid(path, kind_of(value), expected_text(schema))),
        }
        return;
    }
    let type_ = schema.get("type").and_then(Value::as_str).unwrap_or_default();
    match (type_, value) {
        ("object", Value::Object(members)) => check_object(schema, path, members, problems),
        ("array", Value::Array(items)) => check_list(schema, path, items, problems),
        ("string", Value::String(text)) => check_text(schema, path, text, problems),
        ("integer", Value::Number(number)) if number.is_i64() || number.is_u64() => {
            check_integer(schema, path, number, problems);
        }
        ("boolean", Value::Bool(_)) | ("number", Value::Number(_)) => {}
        _ => problems.push(mismatch(schema, type_, path, value)),
    }
}

fn mismatch(schema: &Value, type_: &str, path: &str, value: &Value) -> Problem {
    let expected = match type_ {
        "object" => "a mapping with fields".to_owned(),
        "array" => "a list".to_owned(),
        "string" => format!("a text: {}", expected_text(schema)),
        "integer" => format!("a whole number{}", range_of(schema)),
        other => format!("a {other}"),
    };
    let problem = Problem::invalid(path, kind_of(value), expected);
    match (type_, value) {
        ("string", Value::Bool(_) | Value::Number(_)) => problem.advise("put it in quotes"),
        ("integer", Value::String(text)) if text.parse::<i64>().is_ok() => {
            problem.advise("take the quotes away")
        }
        ("array", Value::String(_)) => problem.advise("put a hyphen before it, or [ ] around it"),
        _ => problem,
    }
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("the truth value {value}"),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => format!("the text {}", shown(text)),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
    }
}

fn check_object(schema: &Value, path: &str, members: &Map<String, Value>, problems: &mut Vec<Problem>) {
    if let Some(Value::Object(properties)) = schema.get("properties") {
        for (name, member) in members {
            match properties.get(name) {
                Some(inner) => check_value(inner, &join(path, name), member, problems),
                None => problems.push(unknown(path, name, properties)),
            }
        }
        for name in required(schema).filter(|name| !members.contains_key(*name)) {
            let expected = properties.get(name).map_or_else(|| "a value".to_owned(), described);
            problems.push(Problem::invalid(join(path, name), "nothing", expected));
        }
    } else if let Some(inner @ Value::Object(_)) = schema.get("additionalProperties") {
        for (name, member) in members {
            check_value(inner, &format!("{path}[{name}]"), member, problems);
        }
        if number(schema, "maxProperties").is_some_and(|most| members.len() as u64 > most) {
            let expected = format!("at most {}", number(schema, "maxProperties").unwrap_or_default());
            problems.push(Problem::invalid(path, format!("{} entries", members.len()), expected));
        }
    }
}

fn required(schema: &Value) -> impl Iterator<Item = &str> {
    schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

fn unknown(path: &str, name: &str, properties: &Map<String, Value>) -> Problem {
    let known: Vec<&str> = properties.keys().map(String::as_str).collect();
    let expected = if known.len() <= MOST_NAMES {
        format!("one of {}", known.join(", "))
    } else {
        "a field that the schema has".to_owned()
    };
    Problem::invalid(join(path, name), "an unknown field", expected).or_did_you_mean(name, known)
}

fn check_list(schema: &Value, path: &str, items: &[Value], problems: &mut Vec<Problem>) {
    let (least, most) = (number(schema, "minItems").unwrap_or(0), number(schema, "maxItems"));
    let count = items.len() as u64;
    if count < least || most.is_some_and(|most| count > most) {
        let expected = match most {
            Some(most) => format!("{least} to {most}"),
            None => format!("at least {least}"),
        };
        problems.push(Problem::invalid(path, entries(items.len()), expected));
    }
    if let Some(inner) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            check_value(inner, &format!("{path}[{index}]"), item, problems);
        }
    }
    check_keys(schema, path, items, problems);
}

fn entries(count: usize) -> String {
    match count {
        0 => "no entry".to_owned(),
        1 => "1 entry".to_owned(),
        _ => format!("{count} entries"),
    }
}

/// In a list map each key stands once.
fn check_keys(schema: &Value, path: &str, items: &[Value], problems: &mut Vec<Problem>) {
    let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
    for key in keys.into_iter().flatten().filter_map(Value::as_str) {
        let mut seen = HashSet::new();
        for (index, item) in items.iter().enumerate() {
            let value = item.get(key).and_then(Value::as_str);
            if let Some(value) = value.filter(|value| !seen.insert(*value)) {
                let found = format!("{} a second time", shown(value));
                problems.push(Problem::invalid(
                    format!("{path}[{index}].{key}"),
                    found,
                    format!("each {key} once"),
                ));
            }
        }
    }
}

fn check_text(schema: &Value, path: &str, text: &str, problems: &mut Vec<Problem>) {
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        let known: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
        if !known.contains(&text) {
            let problem = Problem::invalid(path, shown(text), format!("one of {}", known.join(", ")));
            problems.push(problem.or_did_you_mean(text, known));
        }
        return;
    }
    let length = text.chars().count() as u64;
    let (least, most) =
        (number(schema, "minLength").unwrap_or(0), number(schema, "maxLength").unwrap_or(u64::MAX));
    if length > most {
        problems.push(Problem::invalid(path, shown(text), format!("at most {most} characters")));
    } else if length < least || !fits_pattern(schema, text) {
        problems.push(Problem::invalid(path, shown(text), expected_text(schema)));
    }
}

fn fits_pattern(schema: &Value, text: &str) -> bool {
    let Some(pattern) = schema.get("pattern").and_then(Value::as_str) else { return true };
    // A pattern of ours that can't be read refuses nothing; a test reads them all.
    regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text))
}

fn expected_text(schema: &Value) -> String {
    let meaning = schema.get("pattern").and_then(Value::as_str).and_then(text::meaning);
    meaning.map_or_else(|| described(schema), str::to_owned)
}

/// The first sentence of a field's description.
fn described(schema: &Value) -> String {
    let text = schema.get("description").and_then(Value::as_str).unwrap_or("a value");
    let end = text.find(". ").or_else(|| text.find(".\n")).unwrap_or(text.len());
    let sentence = text[..end].trim_end_matches('.').replace('\n', " ");
    let mut chars = sentence.chars();
    match chars.next() {
        // Lower case, unless it is a name such as MX or PROXY.
        Some(first) if !chars.clone().next().is_some_and(char::is_uppercase) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => sentence,
    }
}

fn check_integer(schema: &Value, path: &str, found: &serde_json::Number, problems: &mut Vec<Problem>) {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let value = found.as_f64().unwrap_or(f64::INFINITY);
    let fits = bound("minimum").is_none_or(|least| value >= least)
        && bound("maximum").is_none_or(|most| value <= most);
    if !fits {
        problems.push(Problem::invalid(
            path,
            found.to_string(),
            format!("a whole number{}", range_of(schema)),
        ));
    }
}

fn range_of(schema: &Value) -> String {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    match (bound("minimum"), bound("maximum")) {
        (Some(least), Some(most)) => format!(" from {least} to {most}"),
        (Some(least), None) => format!(" from {least} on"),
        (None, Some(most)) => format!(" up to {most}"),
        (None, None) => String::new(),
    }
}

fn number(schema: &Value, keyword: &str) -> Option<u64> {
    schema.get(keyword).and_then(Value::as_u64)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pattern_of_the_schema_can_be_read() {
        fn walk(value: &Value) {
            if let Some(pattern) = value.get("pattern").and_then(Value::as_str) {
                regex_lite::Regex::new(pattern).expect(pattern);
            }
            match value {
                Value::Object(members) => members.values().for_each(walk),
                Value::Array(items) => items.iter().for_each(walk),
                _ => {}
            }
        }
        for kind in ["MailRelay", "RoutingRule"] {
            walk(&postrider_crds::rendered::schema(kind).expect("a kind of ours"));
        }
    }
}
