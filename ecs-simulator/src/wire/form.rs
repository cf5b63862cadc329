//! AWS query: `A.member.1.B=c` in, XML out.

use quick_xml::escape::escape;
use serde_json::{Map, Value, json};

use super::{ApiError, Call, Protocol, Service, Version};

/// Parts of a name; CloudWatch, Elastic Load Balancing and Auto Scaling use up to nine.
const DEEPEST: usize = 16;
/// How far an element's number may be ahead of those that came before it: clients number them in order.
const AHEAD: usize = 100;

/// Reads a form: the operation is its `Action`, the service follows from its `Version`.
pub(crate) fn decode(body: &[u8]) -> Result<Call, ApiError> {
    let mut input = Value::Null;
    let (mut action, mut version) = (String::new(), String::new());
    for (key, value) in form_urlencoded::parse(body) {
        match key.as_ref() {
            "Action" => action = value.into_owned(),
            "Version" => version = value.into_owned(),
            _ => {
                let parts: Vec<&str> = key.split('.').collect();
                if parts.len() > DEEPEST {
                    return Err(ApiError::new("MalformedInput", "a name has too many parts"));
                }
                insert(&mut input, &parts, &value)?;
            }
        }
    }
    let (service, version) = match version.as_str() {
        "2010-08-01" => (Service::CloudWatch, Version::CloudWatch),
        "2015-12-01" => (Service::LoadBalancing, Version::LoadBalancing),
        "2011-01-01" => (Service::AutoScaling, Version::AutoScaling),
        other => return Err(ApiError::new("NoSuchVersion", format!("no API has the version {other:?}"))),
    };
    let input = if input.is_null() { json!({}) } else { input };
    Ok(Call { service, operation: action, protocol: Protocol::Query(version), input })
}

fn insert(value: &mut Value, parts: &[&str], text: &str) -> Result<(), ApiError> {
    let Some((first, rest)) = parts.split_first() else {
        *value = json!(text);
        return Ok(());
    };
    if *first == "member" {
        if !value.is_array() {
            *value = json!([]);
        }
        let Some(list) = value.as_array_mut() else { return Ok(()) };
        let number = rest.first().and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number.filter(|number| (1..=list.len() + AHEAD).contains(number)) else {
            return Err(ApiError::new(
                "MalformedInput",
                "a list's element has no number, or one far ahead of the others",
            ));
        };
        if list.len() < number {
            list.resize(number, Value::Null);
        }
        return insert(&mut list[number - 1], &rest[1..], text);
    }
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    let Some(map) = value.as_object_mut() else { return Ok(()) };
    insert(map.entry((*first).to_owned()).or_insert(Value::Null), rest, text)
}

/// Writes an answer.
pub(crate) fn encode(version: Version, operation: &str, answer: &Result<Value, ApiError>, id: &str) -> String {
    let namespace = match version {
        Version::CloudWatch => "http://monitoring.amazonaws.com/doc/2010-08-01/",
        Version::AutoScaling => "http://autoscaling.amazonaws.com/doc/2011-01-01/",
        Version::LoadBalancing => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
    };
    let metadata = format!("<ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata>");
    match answer {
        Ok(value) => {
            let mut result = String::new();
            write(&mut result, value);
            format!(
                "<{operation}Response xmlns=\"{namespace}\"><{operation}Result>{result}</{operation}Result>{metadata}</{operation}Response>"
            )
        }
        Err(error) => {
            let kind = error.at_fault();
            format!(
                "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{kind}</Type><Code>{}</Code><Message>{}</Message></Error><RequestId>{id}</RequestId></ErrorResponse>",
                error.code,
                escape(error.message.as_str())
            )
        }
    }
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Null => {}
        Value::Bool(truth) => text.push_str(&truth.to_string()),
        Value::Number(number) => text.push_str(&number.to_string()),
        Value::String(string) => text.push_str(&escape(string.as_str())),
        Value::Array(values) => {
            for value in values {
                text.push_str("<member>");
                write(text, value);
                text.push_str("</member>");
            }
        }
        Value::Object(map) => {
            for (key, value) in map.iter().filter(|(_, value)| !value.is_null()) {
                text.push_str(&format!("<{key}>"));
                if let (Some(seconds), true) = (value.as_f64(), key.ends_with("Time") || key == "Timestamp") {
                    text.push_str(&iso(seconds));
                } else if let (Value::Array(moments), true) = (value, key == "Timestamps") {
                    for moment in moments {
                        text.push_str(&format!("<member>{}</member>", iso(moment.as_f64().unwrap_or(0.0))));
                    }
                } else {
                    write(text, value);
                }
                text.push_str(&format!("</{key}>"));
            }
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "seconds of our own clock")]
fn iso(seconds: f64) -> String {
    let moment = time::OffsetDateTime::from_unix_timestamp(seconds as i64).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
    moment.format(&time::format_description::well_known::Rfc3339).unwrap_or_default()
}
