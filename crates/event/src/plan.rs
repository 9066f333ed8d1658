//! The tracking plan: which events a source is to send, and with which properties.
//!
//! An event that is not as planned is a violation of one of four kinds, which are named as RudderStack
//! names them. Each kind is passed over, counted, or a reason to reject, by configuration. A plan is
//! about what the decoder has read: the type and the name that a foreign event name is mapped to.

use std::collections::HashMap;
use std::error::Error;
use std::fmt::Write as _;
use std::sync::Arc;

use boon::{Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::ConfigError;
use crate::model::{Event, EventType};
use crate::rejection::{Reason, Rejection, quoted};

/// Violations that one detail tells at most.
const TOLD: usize = 5;

/// The plan of some sources.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PlanConfig {
    /// The sources that it holds for. Default none, which means every source that no other plan names.
    pub sources: Vec<String>,
    /// What becomes of an event that is not in the plan. Default `count`.
    pub unplanned_event: Response,
    /// What becomes of an event that lacks a required property. Default `count`.
    pub required_missing: Response,
    /// What becomes of an event with a property of another type, or of a value that the schema does not
    /// allow. Default `count`.
    pub datatype_mismatch: Response,
    /// What becomes of an event with a property that the schema does not allow. Default `count`.
    pub additional_properties: Response,
    /// The events that are planned. Default none.
    pub events: Vec<PlannedEvent>,
}

/// An event that is planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedEvent {
    /// Its type. Default `feature`.
    #[serde(rename = "type", default = "feature")]
    pub event_type: EventType,
    /// Its name, as mimamori reads it. Default empty: any name that no other entry of the type has.
    #[serde(default)]
    pub name: String,
    /// A JSON Schema (draft 2020-12) of its properties. Default one that allows everything.
    #[serde(default = "anything")]
    pub properties: Value,
}

/// What a violation leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Response {
    /// Nothing.
    Ignore,
    /// The event is accepted, the violation counted.
    Count,
    /// The event is rejected.
    Reject,
}

impl Default for PlanConfig {
    fn default() -> PlanConfig {
        PlanConfig {
            sources: Vec::new(),
            unplanned_event: Response::Count,
            required_missing: Response::Count,
            datatype_mismatch: Response::Count,
            additional_properties: Response::Count,
            events: Vec::new(),
        }
    }
}

fn feature() -> EventType {
    EventType::Feature
}

fn anything() -> Value {
    Value::Object(Map::new())
}

/// The kinds of violation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// The plan has no such event.
    UnplannedEvent,
    /// A required property is absent.
    RequiredMissing,
    /// A property is of another type, or its value is not allowed.
    DatatypeMismatch,
    /// A property that the schema does not allow.
    AdditionalProperties,
}

impl Violation {
    /// Every kind, in the order in which one becomes the reason of a rejection.
    pub const ALL: [Violation; 4] = [
        Violation::UnplannedEvent,
        Violation::RequiredMissing,
        Violation::DatatypeMismatch,
        Violation::AdditionalProperties,
    ];

    /// The name, as in RudderStack.
    pub fn as_str(self) -> &'static str {
        match self {
            Violation::UnplannedEvent => "Unplanned-Event",
            Violation::RequiredMissing => "Required-Missing",
            Violation::DatatypeMismatch => "Datatype-Mismatch",
            Violation::AdditionalProperties => "Additional-Properties",
        }
    }

    fn reason(self) -> Reason {
        match self {
            Violation::UnplannedEvent => Reason::UnplannedEvent,
            Violation::RequiredMissing => Reason::RequiredMissing,
            Violation::DatatypeMismatch => Reason::DatatypeMismatch,
            Violation::AdditionalProperties => Reason::AdditionalProperties,
        }
    }
}

/// A set of kinds of violation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Violations(u8);

impl Violations {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = Violation> {
        Violation::ALL
            .into_iter()
            .filter(move |kind| self.0 & bit(*kind) != 0)
    }

    fn add(&mut self, kind: Violation) {
        self.0 |= bit(kind);
    }
}

fn bit(kind: Violation) -> u8 {
    1 << kind as u8
}

/// The plans of all sources.
#[derive(Clone)]
pub(crate) struct Plans(Arc<Compiled>);

struct Compiled {
    schemas: Schemas,
    plans: Vec<Plan>,
    by_source: HashMap<String, usize>,
    /// The plan of the sources that none names.
    of_others: Option<usize>,
}

struct Plan {
    responses: [Response; 4],
    /// By type and, within it, by name.
    events: HashMap<EventType, HashMap<String, SchemaIndex>>,
}

impl std::fmt::Debug for Plans {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Plans")
            .field("plans", &self.0.plans.len())
            .finish()
    }
}

/// A schema stands for itself: nothing is fetched for it.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, _: &str) -> Result<Value, Box<dyn Error>> {
        Err("a schema can only refer to what is within itself".into())
    }
}

impl Plans {
    /// Nothing when there is no plan.
    pub(crate) fn new(configs: &[PlanConfig]) -> Result<Option<Plans>, ConfigError> {
        if configs.is_empty() {
            return Ok(None);
        }
        let mut compiler = Compiler::new();
        compiler.use_loader(Box::new(Nowhere));
        let mut compiled = Compiled {
            schemas: Schemas::new(),
            plans: Vec::new(),
            by_source: HashMap::new(),
            of_others: None,
        };
        for (position, config) in configs.iter().enumerate() {
            let wrong = |field: String, problem: String| ConfigError::Plan {
                field: format!("plans[{position}].{field}"),
                problem,
            };
            for source in &config.sources {
                if compiled.by_source.insert(source.clone(), position).is_some() {
                    let problem = format!("{} has a plan already", quoted(source));
                    return Err(wrong("sources".to_owned(), problem));
                }
            }
            if config.sources.is_empty() && compiled.of_others.replace(position).is_some() {
                let problem = "is empty, as in another plan: only one can hold for every other source";
                return Err(wrong("sources".to_owned(), problem.to_owned()));
            }
            let mut events: HashMap<EventType, HashMap<String, SchemaIndex>> = HashMap::new();
            for (place, event) in config.events.iter().enumerate() {
                let url = format!("urn:mimamori:plan:{position}:{place}");
                let index = compile(&mut compiler, &mut compiled.schemas, &url, event)
                    .map_err(|problem| wrong(format!("events[{place}].properties"), problem))?;
                let of_type = events.entry(event.event_type).or_default();
                if of_type.insert(event.name.clone(), index).is_some() {
                    let problem = "is planned twice: keep one".to_owned();
                    return Err(wrong(format!("events[{place}].name"), problem));
                }
            }
            compiled.plans.push(Plan {
                responses: [
                    config.unplanned_event,
                    config.required_missing,
                    config.datatype_mismatch,
                    config.additional_properties,
                ],
                events,
            });
        }
        Ok(Some(Plans(Arc::new(compiled))))
    }

    /// Holds an event against its source's plan: the violations to be counted, or the rejection.
    pub(crate) fn check(&self, event: &Event) -> Result<Violations, Rejection> {
        let compiled = &*self.0;
        let position = compiled
            .by_source
            .get(&event.source)
            .copied()
            .or(compiled.of_others);
        let Some(plan) = position.and_then(|position| compiled.plans.get(position)) else {
            return Ok(Violations::default());
        };
        let found = plan.violations(event, &compiled.schemas);
        let mut counted = Violations::default();
        for kind in Violation::ALL {
            let details: Vec<&str> = found
                .iter()
                .filter(|(found, _)| *found == kind)
                .map(|(_, detail)| detail.as_str())
                .collect();
            if details.is_empty() {
                continue;
            }
            match plan.responses[kind as usize] {
                Response::Ignore => {}
                Response::Count => counted.add(kind),
                Response::Reject => {
                    let more = details.len().saturating_sub(TOLD);
                    let mut detail = details[..details.len() - more].join("; ");
                    if more > 0 {
                        // Writing into a text cannot fail.
                        let _ = write!(detail, "; and {more} more");
                    }
                    return Err(Rejection::new(kind.reason(), detail));
                }
            }
        }
        Ok(counted)
    }
}

fn compile(
    compiler: &mut Compiler,
    schemas: &mut Schemas,
    url: &str,
    event: &PlannedEvent,
) -> Result<SchemaIndex, String> {
    compiler
        .add_resource(url, event.properties.clone())
        .map_err(|error| format!("{error:#}"))?;
    compiler
        .compile(url, schemas)
        .map_err(|error| format!("{error:#}"))
}

impl Plan {
    fn violations(&self, event: &Event, schemas: &Schemas) -> Vec<(Violation, String)> {
        let event_type = event.event_type;
        let of_type = self.events.get(&event_type);
        let index = of_type.and_then(|names| names.get(&event.name).or_else(|| names.get("")));
        let Some(&index) = index else {
            let detail = format!(
                "name is {}: the tracking plan of source {} has no such {}",
                quoted(&event.name),
                quoted(&event.source),
                event_type.as_str()
            );
            return vec![(Violation::UnplannedEvent, detail)];
        };
        let properties = if event.properties.is_empty() {
            Ok(anything())
        } else {
            serde_json::from_str::<Value>(&event.properties)
        };
        let mut found = Vec::new();
        match properties {
            Ok(properties) => {
                if let Err(error) = schemas.validate(&properties, index) {
                    tell(&error, &mut found);
                }
            }
            Err(_) => {
                let detail = "properties hold a number out of range".to_owned();
                found.push((Violation::DatatypeMismatch, detail));
            }
        }
        found
    }
}

/// Names what is wrong, without repeating a value.
fn tell(error: &ValidationError<'_, '_>, found: &mut Vec<(Violation, String)>) {
    let place = format!("properties{}", error.instance_location);
    let place = quoted(&place);
    let place = place.trim_matches('"');
    match &error.kind {
        ErrorKind::Required { want } | ErrorKind::DependentRequired { missing: want, .. } => {
            let names: Vec<String> = want.iter().map(|name| quoted(name)).collect();
            let detail = format!(
                "{place} lacks {}, which the tracking plan requires",
                names.join(", ")
            );
            found.push((Violation::RequiredMissing, detail));
        }
        ErrorKind::AdditionalProperties { got } => {
            let names: Vec<String> = got.iter().take(TOLD).map(|name| quoted(name)).collect();
            let detail = format!(
                "{place} holds {}, which the tracking plan does not have",
                names.join(", ")
            );
            found.push((Violation::AdditionalProperties, detail));
        }
        ErrorKind::FalseSchema => {
            let detail = format!("{place} is not in the tracking plan");
            found.push((Violation::AdditionalProperties, detail));
        }
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|want| want.to_string()).collect();
            let want = want.join(" or ");
            let detail = format!("{place} is of type {got}: the tracking plan wants {want}");
            found.push((Violation::DatatypeMismatch, detail));
        }
        // What each of several alternatives lacks says nothing about what was meant.
        ErrorKind::AnyOf | ErrorKind::OneOf(_) | ErrorKind::Not => found.push(not_allowed(place)),
        _ if error.causes.is_empty() => found.push(not_allowed(place)),
        _ => error.causes.iter().for_each(|cause| tell(cause, found)),
    }
}

fn not_allowed(place: &str) -> (Violation, String) {
    let detail = format!("{place} is not what the tracking plan allows");
    (Violation::DatatypeMismatch, detail)
}
