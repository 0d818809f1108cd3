//! Spans on their way out: every text of theirs is redacted first.

use std::borrow::Cow;
use std::time::Duration;

use opentelemetry::trace::Status;
use opentelemetry::{Array, KeyValue, StringValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use crate::redact;

/// Hands spans without personal data to another exporter.
#[derive(Debug)]
pub(crate) struct Redacting<E>(pub(crate) E);

impl<E: SpanExporter> SpanExporter for Redacting<E> {
    async fn export(&self, mut batch: Vec<SpanData>) -> OTelSdkResult {
        batch.iter_mut().for_each(clean);
        self.0.export(batch).await
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

fn clean(span: &mut SpanData) {
    text(&mut span.name);
    span.attributes.iter_mut().for_each(attribute);
    for event in &mut span.events.events {
        text(&mut event.name);
        event.attributes.iter_mut().for_each(attribute);
    }
    span.links.links.iter_mut().flat_map(|link| &mut link.attributes).for_each(attribute);
    if let Status::Error { description } = &mut span.status {
        text(description);
    }
}

fn text(text: &mut Cow<'static, str>) {
    if let Cow::Owned(redacted) = redact(text) {
        *text = Cow::Owned(redacted);
    }
}

fn attribute(attribute: &mut KeyValue) {
    match &mut attribute.value {
        Value::String(value) => string(value),
        Value::Array(Array::String(values)) => values.iter_mut().for_each(string),
        _ => {}
    }
}

fn string(value: &mut StringValue) {
    if let Cow::Owned(redacted) = redact(value.as_str()) {
        *value = redacted.into();
    }
}
