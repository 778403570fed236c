//! The OpenAPI document: it holds together, and every endpoint in it is there. What it says of requests and answers is
//! tried by `make fuzz-api`.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeSet;

use serde_json::Value;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(Value::String(reference)) = members.get("$ref") {
                found.insert(reference.clone());
            }
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _plain => {}
    }
}

#[test]
fn it_holds_together() {
    let document = xlat_control::document();
    let mark = document.pointer("/components/schemas/Pool4Block/properties/mark/maximum");
    assert_eq!(mark.and_then(Value::as_u64), Some(u64::from(u32::MAX)));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 10, "{found:?}");
    for reference in &found {
        let at = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(at).is_some(), "{reference} leads nowhere");
    }
    let mut names = BTreeSet::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/v1/"), "{path}");
        for (method, operation) in methods.as_object().unwrap() {
            let name = operation["operationId"].as_str().unwrap();
            assert!(names.insert(name.to_owned()), "{name} twice");
            assert!(operation["summary"].is_string(), "{method} {path} says nothing about itself");
            assert!(operation["tags"].is_array(), "{method} {path} has no tag");
            assert!(operation["responses"]["default"].is_object(), "{method} {path} has no errors");
            let parameters = operation["parameters"].as_array().map_or(&[][..], Vec::as_slice);
            for part in path.split('/').filter_map(|part| part.strip_prefix('{')) {
                let wanted = part.trim_end_matches('}');
                assert!(
                    parameters.iter().any(|one| one["name"] == wanted && one["in"] == "path"),
                    "{method} {path} lacks the parameter {wanted}"
                );
            }
        }
    }
}
