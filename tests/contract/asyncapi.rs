//! `asyncapi.yaml`: the broker's side of the contract, written from the code, so that nothing is missing and nothing is
//! there that the code does not have. The structure is checked against AsyncAPI 3.0.0 (objects, required and allowed
//! fields, references) and its AMQP bindings 0.3.0, as published in the schemas of the specification.

use std::collections::{BTreeMap, BTreeSet};

use pikou::app::broker_settings;
use pikou::broker::publisher::CONTENT_TYPE;
use pikou::broker::topology::{self, Argument, Kind};
use pikou::contract::events::EventType;
use pikou::contract::inbound::MESSAGES;
use serde_json::{Map, Value, json};

use crate::{documents, yaml};

const VERSION: &str = "3.0.0";
const BINDING: &str = "0.3.0";

pub fn text() -> String {
    let head = "# What pikou takes and tells over RabbitMQ. Written from the code by tests/contract/; the names are those of\n\
                # config/default.toml. The words are explained in docs/CONTRACT.md.\n";
    format!("{head}{}", yaml::text(&document(), &["asyncapi", "info", "defaultContentType", "servers"]))
}

fn document() -> Value {
    let settings = broker_settings(&pikou::config::load(None, std::iter::empty()).unwrap());
    let (mut channels, mut operations, mut messages) = (Map::new(), Map::new(), Map::new());
    let mut add = |way: &Way, name: &str, summary: &str| {
        let key = format!("{}.{name}", way.prefix);
        let channel = json!({
            "address": name,
            "messages": {name: {"$ref": format!("#/components/messages/{key}")}},
            "bindings": {"amqp": {"is": "routingKey", "bindingVersion": BINDING, "exchange": {
                "name": way.exchange, "type": "topic", "durable": true, "autoDelete": false, "vhost": "/"}}},
        });
        channels.insert(key.clone(), channel);
        let operation = json!({
            "action": way.action,
            "summary": summary,
            "channel": {"$ref": format!("#/channels/{key}")},
            "messages": [{"$ref": format!("#/channels/{key}/messages/{name}")}],
            "bindings": {"amqp": way.binding},
        });
        operations.insert(key.clone(), operation);
        let title = format!("{}{name}.v1", way.type_prefix);
        let message = json!({
            "name": title,
            "summary": summary,
            "traits": [{"$ref": format!("#/components/messageTraits/{}", way.prefix)}],
            "payload": {"schemaFormat": "application/schema+json;version=draft-07",
                        "schema": {"$ref": format!("./schemas/{}/{name}.json", way.folder)}},
            "x-example": format!("fixtures/{}/{name}.json", way.folder),
        });
        messages.insert(key, message);
    };
    let said = documents::messages();
    let inward = Way {
        prefix: "in",
        folder: "messages",
        type_prefix: "pikou.in.",
        exchange: &settings.exchange_in,
        action: "receive",
        binding: json!({"ack": true, "deliveryMode": 2, "bindingVersion": BINDING}),
    };
    for name in MESSAGES.iter().copied() {
        add(&inward, name, said.get(name).map_or("", String::as_str));
    }
    let told = documents::events();
    let outward = Way {
        prefix: "out",
        folder: "events",
        type_prefix: "pikou.",
        exchange: &settings.exchange_events,
        action: "send",
        binding: json!({"deliveryMode": 2, "mandatory": true, "bindingVersion": BINDING}),
    };
    for kind in EventType::ALL {
        add(&outward, kind.as_str(), told.get(kind.as_str()).map_or("", String::as_str));
    }
    json!({
        "asyncapi": VERSION,
        "info": {
            "title": "pikou",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Batch deduction of social-insurance contributions: messages in, events out. Both are CloudEvents 1.0 in structured JSON; messages are taken in binary mode, too.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {"broker": {
            "host": "{host}:{port}",
            "pathname": "/{vhost}",
            "protocol": "amqp",
            "protocolVersion": "0-9-1",
            "description": "RabbitMQ 3.10 or newer, as in `broker.url`; `amqps` with TLS.",
            "variables": {
                "host": {"default": "localhost"},
                "port": {"default": "5672"},
                "vhost": {"default": "%2F"},
            },
        }},
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": messages,
            "messageTraits": {
                "in": {
                    "contentType": CONTENT_TYPE,
                    "headers": {"type": "object", "description": "None is asked for. In binary mode the attributes stand here, as `cloudEvents:<name>`, the content type is `application/json`, and the body is `data` alone."},
                    "description": "Persistent, published with confirms. The same `source` and `id` with the same content count once.",
                },
                "out": {
                    "contentType": CONTENT_TYPE,
                    "headers": {"type": "object", "description": "None is set. The property `message_id` is the event's `id`."},
                    "description": "At least once, in order for each subject, whose `sequence` is 1, 2, 3 … without gaps.",
                },
            },
        },
        "x-topology": topology_of(&settings),
    })
}

/// One of the two directions.
struct Way<'s> {
    prefix: &'static str,
    folder: &'static str,
    type_prefix: &'static str,
    exchange: &'s str,
    action: &'static str,
    binding: Value,
}

/// What every worker declares when it connects. Bindings of AsyncAPI have no place for the arguments of a queue.
fn topology_of(settings: &pikou::broker::BrokerSettings) -> Value {
    let kind = |kind: Kind| match kind {
        Kind::Topic => "topic",
        Kind::Fanout => "fanout",
    };
    let exchanges: Map<String, Value> = topology::exchanges(settings)
        .into_iter()
        .map(|exchange| (exchange.name, json!({"type": kind(exchange.kind), "durable": true, "autoDelete": false})))
        .collect();
    let queues: Map<String, Value> = topology::queues(settings)
        .into_iter()
        .map(|queue| {
            let arguments: Map<String, Value> = queue
                .arguments
                .into_iter()
                .map(|(name, value)| match value {
                    Argument::Text(text) => (name.to_owned(), json!(text)),
                    Argument::Number(number) => (name.to_owned(), json!(number)),
                })
                .collect();
            let shape = json!({"durable": true, "exclusive": false, "autoDelete": false, "arguments": arguments,
                "boundTo": {"exchange": queue.exchange, "routingKey": queue.routing_key}});
            (queue.name, shape)
        })
        .collect();
    json!({"exchanges": exchanges, "queues": queues})
}

/// Whether an object has the fields it needs, and none that the specification does not know.
fn shape(at: &str, object: &Value, required: &[&str], allowed: &[&str]) {
    let fields = object.as_object().unwrap_or_else(|| panic!("{at} is no object"));
    for field in required {
        assert!(fields.contains_key(*field), "{at} has no {field}");
    }
    for field in fields.keys() {
        let known = required.contains(&field.as_str()) || allowed.contains(&field.as_str());
        assert!(known || field.starts_with("x-"), "{at}: AsyncAPI {VERSION} knows no {field}");
    }
}

fn each<'v>(document: &'v Value, pointer: &str) -> impl Iterator<Item = (String, &'v Value)> {
    let pointer = pointer.to_owned();
    let objects = document.pointer(&pointer).unwrap().as_object().unwrap();
    objects.iter().map(move |(key, value)| (format!("{pointer}/{key}"), value))
}

#[test]
fn the_document_has_the_structure_of_asyncapi_3() {
    let document = document();
    shape(
        "the document",
        &document,
        &["asyncapi", "info"],
        &["id", "servers", "defaultContentType", "channels", "operations", "components"],
    );
    shape(
        "info",
        &document["info"],
        &["title", "version"],
        &["description", "termsOfService", "contact", "license", "tags", "externalDocs"],
    );
    shape("license", &document["info"]["license"], &["name"], &["url"]);
    for (at, server) in each(&document, "/servers") {
        let allowed = [
            "pathname",
            "title",
            "summary",
            "description",
            "protocolVersion",
            "variables",
            "security",
            "tags",
            "externalDocs",
            "bindings",
        ];
        shape(&at, server, &["host", "protocol"], &allowed);
        let variables: BTreeSet<&str> = server["variables"].as_object().unwrap().keys().map(String::as_str).collect();
        let used = format!("{}{}", server["host"].as_str().unwrap(), server["pathname"].as_str().unwrap());
        let used: BTreeSet<&str> = used.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
        assert_eq!(variables, used);
    }
    for (at, channel) in each(&document, "/channels") {
        shape(
            &at,
            channel,
            &[],
            &[
                "address",
                "messages",
                "title",
                "summary",
                "description",
                "servers",
                "parameters",
                "tags",
                "externalDocs",
                "bindings",
            ],
        );
        let amqp = &channel["bindings"]["amqp"];
        shape(&at, amqp, &["is", "exchange"], &["bindingVersion"]);
        shape(&at, &amqp["exchange"], &["name", "type"], &["durable", "autoDelete", "vhost"]);
    }
    for (at, operation) in each(&document, "/operations") {
        shape(
            &at,
            operation,
            &["action", "channel"],
            &[
                "title",
                "summary",
                "description",
                "security",
                "tags",
                "externalDocs",
                "bindings",
                "traits",
                "messages",
                "reply",
            ],
        );
        assert!(["send", "receive"].contains(&operation["action"].as_str().unwrap()), "{at}");
        let allowed = [
            "expiration",
            "userId",
            "cc",
            "priority",
            "deliveryMode",
            "mandatory",
            "bcc",
            "timestamp",
            "ack",
            "bindingVersion",
        ];
        shape(&at, &operation["bindings"]["amqp"], &[], &allowed);
        let channel = operation["channel"]["$ref"].as_str().unwrap();
        for message in operation["messages"].as_array().unwrap() {
            assert!(
                message["$ref"].as_str().unwrap().starts_with(&format!("{channel}/messages/")),
                "{at}: of another channel"
            );
        }
    }
    let common = [
        "headers",
        "correlationId",
        "contentType",
        "name",
        "title",
        "summary",
        "description",
        "tags",
        "externalDocs",
        "bindings",
        "examples",
    ];
    for (at, message) in each(&document, "/components/messages") {
        shape(&at, message, &[], &[&common[..], &["payload", "traits"]].concat());
        shape(&at, &message["payload"], &["schema", "schemaFormat"], &[]);
        let key = at.rsplit('/').next().unwrap();
        assert!(key.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{key} is no key of a component");
    }
    for (at, message_trait) in each(&document, "/components/messageTraits") {
        shape(&at, message_trait, &[], &common);
    }
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 100);
    for reference in found {
        match reference.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere"),
            None => assert!(crate::root().join(&reference).is_file(), "{reference} is no file"),
        }
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

/// What the code does, read another way than the document is written: what a message is called, where it goes.
#[test]
fn channels_keys_names_and_schemas_are_those_of_the_code_and_no_others() {
    let document = document();
    let mut told: BTreeMap<(String, String), (String, String)> = BTreeMap::new();
    for (_, operation) in each(&document, "/operations") {
        let channel = &document.pointer(&operation["channel"]["$ref"].as_str().unwrap()[1..]).unwrap();
        let message = operation["messages"][0]["$ref"].as_str().unwrap();
        let message = document.pointer(&message[1..]).unwrap()["$ref"].as_str().unwrap();
        let message = document.pointer(&message[1..]).unwrap();
        let exchange = channel["bindings"]["amqp"]["exchange"]["name"].as_str().unwrap();
        let schema = message["payload"]["schema"]["$ref"].as_str().unwrap();
        let text = std::fs::read_to_string(crate::root().join(schema)).unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["properties"]["type"]["const"], message["name"]);
        assert!(crate::root().join(message["x-example"].as_str().unwrap()).is_file());
        assert!(!message["summary"].as_str().unwrap().is_empty(), "{}", message["name"]);
        let key = (exchange.to_owned(), channel["address"].as_str().unwrap().to_owned());
        let what = (operation["action"].as_str().unwrap().to_owned(), message["name"].as_str().unwrap().to_owned());
        assert!(told.insert(key, what).is_none());
    }
    let inward = MESSAGES.iter().map(|name| (("pikou.in", *name), ("receive", format!("pikou.in.{name}.v1"))));
    let outward = EventType::ALL.iter().map(|kind| {
        let name = kind.as_str();
        (("pikou.events", name), ("send", format!("pikou.{name}.v1")))
    });
    let wanted: BTreeMap<(String, String), (String, String)> = inward
        .chain(outward)
        .map(|((exchange, key), (action, name))| ((exchange.into(), key.into()), (action.into(), name)))
        .collect();
    assert_eq!(told, wanted);
    for part in ["/channels", "/components/messages"] {
        assert_eq!(each(&document, part).count(), wanted.len(), "{part}");
    }
}

/// The topology as it is meant to be: a change of it is a change for those who run the broker.
#[test]
fn the_topology_is_this_one() {
    let quorum = json!({"x-queue-type": "quorum", "x-delivery-limit": 1_000_000_000, "x-overflow": "reject-publish"});
    let mut inbox = quorum.clone();
    inbox["x-dead-letter-exchange"] = json!("pikou.inbox.dead");
    inbox["x-dead-letter-strategy"] = json!("at-least-once");
    let queue = |arguments: Value, exchange: &str, key: &str| {
        json!({"durable": true, "exclusive": false, "autoDelete": false, "arguments": arguments,
            "boundTo": {"exchange": exchange, "routingKey": key}})
    };
    let exchange = |kind: &str| json!({"type": kind, "durable": true, "autoDelete": false});
    let wanted = json!({
        "exchanges": {"pikou.in": exchange("topic"), "pikou.events": exchange("topic"), "pikou.inbox.dead": exchange("fanout")},
        "queues": {
            "pikou.inbox": queue(inbox, "pikou.in", "#"),
            "pikou.inbox.dead": queue(quorum, "pikou.inbox.dead", ""),
        },
    });
    assert_eq!(document()["x-topology"], wanted);
}
