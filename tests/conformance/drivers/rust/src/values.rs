//! The values of a Golden, written as conformance.proto says.

use std::collections::HashMap;
use std::fmt::Display;

use crate::pb::Golden;
use crate::pb::golden::Choice;

pub fn of(golden: &Golden) -> HashMap<String, String> {
    let mut told = HashMap::new();
    let mut tell = |name: &str, value: String| {
        told.insert(name.to_owned(), value);
    };
    let set = [
        ("int32_value", number(golden.int32_value)),
        ("int64_value", number(golden.int64_value)),
        ("uint32_value", number(golden.uint32_value)),
        ("uint64_value", number(golden.uint64_value)),
        ("sint32_value", number(golden.sint32_value)),
        ("sint64_value", number(golden.sint64_value)),
        ("fixed32_value", number(golden.fixed32_value)),
        ("fixed64_value", number(golden.fixed64_value)),
        ("sfixed64_value", number(golden.sfixed64_value)),
        ("float_value", Some(golden.float_value.to_bits()).filter(|it| *it != 0).map(|it| format!("{it:08x}"))),
        ("double_value", Some(golden.double_value).filter(|it| it.to_bits() != 0).map(bits)),
        ("bool_value", golden.bool_value.then(|| "true".to_owned())),
        ("string_value", Some(hex(golden.string_value.as_bytes())).filter(|it| !it.is_empty())),
        ("bytes_value", Some(hex(&golden.bytes_value)).filter(|it| !it.is_empty())),
        ("enum_value", number(golden.enum_value)),
        ("present_int64", golden.present_int64.map(|it| it.to_string())),
        ("int64_list", joined(golden.int64_list.iter().map(ToString::to_string).collect())),
        ("double_list", joined(golden.double_list.iter().copied().map(bits).collect())),
        ("string_list", (!golden.string_list.is_empty()).then(|| texts(&golden.string_list))),
        ("timestamp_value", golden.timestamp_value.map(|it| format!("{}.{}", it.seconds, it.nanos))),
        ("duration_value", golden.duration_value.map(|it| format!("{}.{}", it.seconds, it.nanos))),
    ];
    for (name, value) in set {
        if let Some(value) = value {
            tell(name, value);
        }
    }
    let by_string = golden.int64_by_string.iter().map(|(key, value)| format!("{}={value}", hex(key.as_bytes())));
    let by_number = golden.string_by_uint64.iter().map(|(key, value)| format!("{key}={}", hex(value.as_bytes())));
    for (name, mut pairs) in
        [("int64_by_string", by_string.collect()), ("string_by_uint64", by_number.collect::<Vec<_>>())]
    {
        pairs.sort();
        if let Some(text) = joined(pairs) {
            tell(name, text);
        }
    }
    match &golden.choice {
        Some(Choice::TextChoice(text)) => {
            tell("choice", "text_choice".into());
            tell("text_choice", hex(text.as_bytes()));
        }
        Some(Choice::Int64Choice(value)) => {
            tell("choice", "int64_choice".into());
            tell("int64_choice", value.to_string());
        }
        Some(Choice::EventChoice(_)) => tell("choice", "event_choice".into()),
        None => {}
    }
    told
}

fn number<T: Display + Default + PartialEq>(value: T) -> Option<String> {
    (value != T::default()).then(|| value.to_string())
}

fn bits(value: f64) -> String {
    format!("{:016x}", value.to_bits())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|it| format!("{it:02x}")).collect()
}

fn texts(values: &[String]) -> String {
    values.iter().map(|it| hex(it.as_bytes())).collect::<Vec<_>>().join(",")
}

fn joined(values: Vec<String>) -> Option<String> {
    (!values.is_empty()).then(|| values.join(","))
}
