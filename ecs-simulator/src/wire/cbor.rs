//! CBOR ↔ the one form that inputs and answers have here: JSON values, moments as seconds.

use ciborium::value::{Integer, Value as Cbor};
use serde_json::{Map, Value, json};

/// CloudWatch's moments, which CBOR marks as such.
const MOMENTS: [&str; 4] = ["Timestamp", "Timestamps", "StartTime", "EndTime"];

/// Deeper nesting than this is nothing of CloudWatch's.
const DEEPEST: usize = 32;

/// Reads a body; an empty one means no members.
pub(crate) fn decode(body: &[u8]) -> Result<Value, String> {
    if body.is_empty() {
        return Ok(json!({}));
    }
    let value =
        ciborium::de::from_reader_with_recursion_limit::<Cbor, _>(body, DEEPEST).map_err(|error| error.to_string())?;
    match plain(&value)? {
        value @ Value::Object(_) => Ok(value),
        _ => Err("the body is no map".to_owned()),
    }
}

/// Writes a body.
pub(crate) fn encode(value: &Value) -> Vec<u8> {
    let mut body = Vec::new();
    // Writing to memory doesn't fail.
    let _ = ciborium::ser::into_writer(&marked(value, false), &mut body);
    body
}

fn plain(value: &Cbor) -> Result<Value, String> {
    Ok(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(truth) => json!(truth),
        Cbor::Text(text) => json!(text),
        Cbor::Integer(integer) => json!(i64::try_from(i128::from(*integer)).map_err(|_| "an integer is too large")?),
        // JSON has no NaN and no infinity; as text they are refused where a number is asked.
        Cbor::Float(number) => {
            serde_json::Number::from_f64(*number).map_or_else(|| json!(number.to_string()), Value::Number)
        }
        Cbor::Tag(1, moment) => plain(moment)?,
        Cbor::Array(values) => Value::Array(values.iter().map(plain).collect::<Result<_, _>>()?),
        Cbor::Map(pairs) => {
            let mut map = Map::new();
            for (key, value) in pairs {
                let Cbor::Text(key) = key else { return Err("a key is not text".to_owned()) };
                map.insert(key.clone(), plain(value)?);
            }
            Value::Object(map)
        }
        _ => return Err("a value is of a kind that CloudWatch doesn't use".to_owned()),
    })
}

fn marked(value: &Value, is_moment: bool) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(truth) => Cbor::Bool(*truth),
        Value::String(text) => Cbor::Text(text.clone()),
        Value::Number(number) if is_moment => Cbor::Tag(1, Box::new(Cbor::Float(number.as_f64().unwrap_or(0.0)))),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Cbor::Integer(Integer::from(integer)),
            None => Cbor::Float(number.as_f64().unwrap_or(0.0)),
        },
        Value::Array(values) => Cbor::Array(values.iter().map(|value| marked(value, is_moment)).collect()),
        Value::Object(map) => Cbor::Map(
            map.iter()
                .map(|(key, value)| (Cbor::Text(key.clone()), marked(value, MOMENTS.contains(&key.as_str()))))
                .collect(),
        ),
    }
}
