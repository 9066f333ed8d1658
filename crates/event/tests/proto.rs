//! The bytes on the wire are those of the published `.proto`, field by field.

use std::path::Path;

use event::{Event, EventType, wire};
use proptest::prelude::*;
use prost_reflect::prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, Value};

fn published() -> MessageDescriptor {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../schemas/proto");
    let files = protox::compile([folder.join("mimamori/v1/event.proto")], [&folder])
        .expect("the published file compiles");
    let pool = DescriptorPool::from_file_descriptor_set(files).expect("what compiles is consistent");
    pool.get_message_by_name("mimamori.v1.Event")
        .expect("the published file holds the message")
}

#[test]
fn the_published_types_are_ours_by_number_and_name() {
    let descriptor = published();
    let Kind::Enum(types) = descriptor.get_field_by_name("type").unwrap().kind() else {
        panic!("not an enum")
    };
    let named: Vec<(i32, String)> = types
        .values()
        .filter(|value| value.number() != 0)
        .map(|value| (value.number(), value.name().to_lowercase()))
        .collect();
    let ours: Vec<(i32, String)> = EventType::ALL
        .map(|own| (own.number(), own.as_str().to_owned()))
        .to_vec();
    assert_eq!(named, ours);
}

fn any_event() -> impl Strategy<Value = Event> {
    let text = || "\\PC{0,40}";
    let id = || "\\PC{1,32}";
    let ids = (id(), id(), prop::option::of(id()));
    let kind = (
        prop::sample::select(EventType::ALL.to_vec()),
        text(),
        text(),
        prop_oneof![text(), "x{300}"],
    );
    (ids, kind, Event::TIMES, Event::TIMES).prop_map(
        |(
            (event_id, account_id, user_id),
            (event_type, name, source, properties),
            occurred_at,
            received_at,
        )| Event {
            event_id,
            account_id,
            user_id,
            event_type,
            name,
            occurred_at,
            received_at,
            source,
            properties,
        },
    )
}

fn as_published(event: &Event) -> Vec<(&'static str, Value)> {
    let text = |text: &str| Value::String(text.to_owned());
    vec![
        ("event_id", text(&event.event_id)),
        ("account_id", text(&event.account_id)),
        ("user_id", text(event.user_id.as_deref().unwrap_or_default())),
        ("type", Value::EnumNumber(event.event_type.number())),
        ("name", text(&event.name)),
        ("occurred_at", Value::I64(event.occurred_at)),
        ("received_at", Value::I64(event.received_at)),
        ("source", text(&event.source)),
        ("properties", text(&event.properties)),
    ]
}

#[test]
fn bytes_agree_with_the_published_message_both_ways() {
    let descriptor = published();
    let published_fields: Vec<String> = descriptor.fields().map(|field| field.name().to_owned()).collect();
    proptest!(|(event in any_event())| {
        let fields = as_published(&event);
        prop_assert_eq!(&fields.iter().map(|(name, _)| *name).collect::<Vec<_>>(), &published_fields);

        let mut written = Vec::new();
        wire::encode(&event, &mut written);
        let message = DynamicMessage::decode(descriptor.clone(), written.as_slice()).unwrap();
        prop_assert_eq!(message.unknown_fields().count(), 0);
        for (name, value) in &fields {
            let read = message.get_field_by_name(name).unwrap();
            prop_assert_eq!(read.as_ref(), value, "{}", name);
        }

        let mut message = DynamicMessage::new(descriptor.clone());
        for (name, value) in fields {
            message.set_field_by_name(name, value);
        }
        let theirs = message.encode_to_vec();
        prop_assert_eq!(&theirs, &written);
        prop_assert_eq!(wire::decode(&theirs).unwrap(), event);
    });
}
