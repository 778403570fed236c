//! Values that may have no fields that nobody knows: a newer client must not believe that they mean something here. What serde
//! offers for that does not go with flattened and tagged types.

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

/// A value that has been read as a whole.
pub(crate) struct Exactly<T>(pub(crate) T);

impl<'de, T: DeserializeOwned + Serialize> Deserialize<'de> for Exactly<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let given = Value::deserialize(deserializer)?;
        let read = T::deserialize(&given).map_err(D::Error::custom)?;
        let known = serde_json::to_value(&read).map_err(D::Error::custom)?;
        match unknown(&given, &known) {
            Some(field) => Err(D::Error::custom(format_args!("unknown field `{field}`"))),
            None => Ok(Self(read)),
        }
    }
}

/// Reads a list, element by element.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Serialize,
{
    Vec::deserialize(deserializer).map(values)
}

/// What was read, by itself.
pub(crate) fn values<T>(read: Vec<Exactly<T>>) -> Vec<T> {
    read.into_iter().map(|Exactly(value)| value).collect()
}

/// A field that is given and that what was read of it does not have.
fn unknown<'v>(given: &'v Value, known: &Value) -> Option<&'v str> {
    let (Value::Object(given), Value::Object(known)) = (given, known) else { return None };
    given.iter().find_map(|(name, value)| match known.get(name) {
        None => Some(name.as_str()),
        Some(known) => unknown(value, known),
    })
}
