//! Which errors a route may answer with, in groups that the routes' annotations name.

use std::collections::BTreeMap;

use utoipa::IntoResponses;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Content, Ref, RefOr, Response, ResponseBuilder};

/// Statuses and when they are answered.
type Statuses = &'static [(u16, &'static str)];

const MALFORMED: (u16, &str) = (400, "Malformed: the detail names the fault.");
const GUARDED: [(u16, &str); 4] = [
    (401, "No credential, or one that is not valid."),
    (403, "The credential lacks the scope."),
    (500, "A fault of the service; the trace id names it."),
    (503, "It cannot be done at the moment; try again after `Retry-After` seconds."),
];

/// Any route that asks who calls.
pub(crate) struct Guarded;
/// Parameters or a body may be malformed.
pub(crate) struct Malformed;
/// A JSON body is read.
pub(crate) struct JsonBody;
/// There may be no such thing, or it is another tenant's.
pub(crate) struct Absent;
/// It may be at odds with what there is.
pub(crate) struct Conflicting;
/// Understood, but it cannot be done.
pub(crate) struct Unusable;
/// The caller may have asked too much.
pub(crate) struct Limited;
/// The disk may be full.
pub(crate) struct DiskFull;

macro_rules! answers {
    ($($group:ident: $statuses:expr;)*) => {
        $(impl IntoResponses for $group {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                described(&$statuses)
            }
        })*
    };
}

answers! {
    Guarded: GUARDED;
    Malformed: [MALFORMED];
    JsonBody: [MALFORMED, (413, "The body is too large."), (415, "The body has another type.")];
    Absent: [(404, "There is no such thing for this caller.")];
    Conflicting: [(409, "It is at odds with what there is.")];
    Unusable: [(422, "Understood, but unusable.")];
    Limited: [(429, "Too many; try again after `Retry-After` seconds.")];
    DiskFull: [(507, "The disk is full; nothing was stored.")];
}

fn described(statuses: Statuses) -> BTreeMap<String, RefOr<Response>> {
    statuses.iter().map(|(status, when)| (status.to_string(), RefOr::T(problem(*status, when)))).collect()
}

fn problem(status: u16, when: &str) -> Response {
    let response = ResponseBuilder::new().description(when).content("application/problem+json", content("Problem"));
    if !matches!(status, 429 | 503) {
        return response.build();
    }
    let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1));
    let wait = HeaderBuilder::new().schema(Some(seconds)).description(Some("Seconds to wait."));
    response.header("retry-after", wait.build()).build()
}

/// A body with this schema.
pub(super) fn content(schema: &str) -> Content {
    Content::new(Some(Ref::from_schema_name(schema)))
}
