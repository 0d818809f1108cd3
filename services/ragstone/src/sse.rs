//! Server-Sent Events of an answer, with the client's own errors.

use eventsource_stream::{Event, EventStreamError, Eventsource};
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;

use crate::client::RequestError;

/// The events of `response`, in order; comments (heartbeats) are left out.
pub(crate) fn events(response: reqwest::Response) -> impl Stream<Item = Result<Event, RequestError>> {
    let url = response.url().clone();
    response.bytes_stream().eventsource().map(move |event| {
        event.map_err(|error| match error {
            EventStreamError::Transport(source) => RequestError::Unreachable { url: url.clone(), source },
            other => RequestError::Malformed { url: url.clone(), what: other.to_string() },
        })
    })
}

/// The data of `event`, as JSON of the expected shape.
pub(crate) fn data<T: DeserializeOwned>(event: &Event, url: &url::Url) -> Result<T, RequestError> {
    serde_json::from_str(&event.data)
        .map_err(|e| RequestError::Malformed { url: url.clone(), what: format!("event '{}': {e}", event.event) })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::convert::Infallible;

    use futures::{StreamExt, executor::block_on, stream};
    use proptest::prelude::*;

    use super::*;

    fn parse(pieces: Vec<Vec<u8>>) -> Vec<(String, String)> {
        let bytes = stream::iter(pieces.into_iter().map(Ok::<_, Infallible>));
        block_on(bytes.eventsource().map(|e| e.map(|e| (e.event, e.data)).unwrap()).collect())
    }

    const STREAM: &str = concat!(
        ": heartbeat\r\n\r\n",
        "event: contexts\r\ndata: [1,\r\ndata:  2]\r\n\r\n",
        "event: delta\ndata: {\"text\":\"Grüße 🦀\"}\n\n",
        ":\n\n",
        "data:x\n\n",
        "event: done\rdata: {}\r\r",
        "event: cut off\ndata: never ended"
    );

    #[test]
    fn every_form_of_the_standard_is_read() {
        let expected =
            [("contexts", "[1,\n 2]"), ("delta", "{\"text\":\"Grüße 🦀\"}"), ("message", "x"), ("done", "{}")];
        let found = parse(vec![STREAM.as_bytes().to_vec()]);
        assert_eq!(found, expected.map(|(name, data)| (name.to_owned(), data.to_owned())));
    }

    proptest! {
        #[test]
        fn where_the_network_cuts_makes_no_difference(cuts in prop::collection::vec(0..STREAM.len(), 0..40)) {
            let mut cuts = cuts;
            cuts.sort_unstable();
            let mut rest = STREAM.as_bytes();
            let mut pieces = Vec::new();
            let mut at = 0;
            for cut in cuts {
                let (head, tail) = rest.split_at(cut - at);
                pieces.push(head.to_vec());
                (rest, at) = (tail, cut);
            }
            pieces.push(rest.to_vec());
            prop_assert_eq!(parse(pieces), parse(vec![STREAM.as_bytes().to_vec()]));
        }
    }
}
