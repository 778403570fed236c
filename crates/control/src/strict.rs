//! Lists whose elements may have no fields that nobody knows: a newer client must not believe that they mean something here. What
//! serde offers for that does not go with flattened and tagged elements.

use serde::de::{DeserializeOwned, Error as _, SeqAccess, Visitor};
use serde::{Deserializer, Serialize};
use serde_json::Value;

/// Reads the list, element by element.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: DeserializeOwned + Serialize,
{
    struct Elements<T>(std::marker::PhantomData<T>);

    impl<'de, T: DeserializeOwned + Serialize> Visitor<'de> for Elements<T> {
        type Value = Vec<T>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vec<T>, A::Error> {
            let mut list = Vec::new();
            while let Some(given) = elements.next_element::<Value>()? {
                let at = list.len();
                let wrong = |why: &dyn std::fmt::Display| A::Error::custom(format!("changes[{at}]: {why}"));
                let read = T::deserialize(&given).map_err(|error| wrong(&error))?;
                let known = serde_json::to_value(&read).map_err(|error| wrong(&error))?;
                if let Some(field) = unknown(&given, &known) {
                    return Err(wrong(&format!("unknown field `{field}`")));
                }
                list.push(read);
            }
            Ok(list)
        }
    }

    deserializer.deserialize_seq(Elements(std::marker::PhantomData))
}

/// A field that is given and that what was read of it does not have.
fn unknown<'v>(given: &'v Value, known: &Value) -> Option<&'v str> {
    let (Value::Object(given), Value::Object(known)) = (given, known) else { return None };
    given.iter().find_map(|(name, value)| match known.get(name) {
        None => Some(name.as_str()),
        Some(known) => unknown(value, known),
    })
}
