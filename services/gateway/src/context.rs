//! What belongs to the request that is being answered, wherever its task is: its id, and headers its answer will have.

use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderMap, HeaderValue};

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

/// One request's.
pub(crate) struct RequestContext {
    id: HeaderValue,
    headers: Mutex<HeaderMap>,
}

impl RequestContext {
    /// Of the request with this id.
    pub(crate) fn new(id: HeaderValue) -> Arc<Self> {
        Arc::new(Self { id, headers: Mutex::default() })
    }

    /// Runs `work` as work for this request.
    pub(crate) async fn scope<F: Future>(self: Arc<Self>, work: F) -> F::Output {
        CURRENT.scope(self, work).await
    }

    /// The headers that were asked for.
    pub(crate) fn take_headers(&self) -> HeaderMap {
        std::mem::take(&mut *self.headers.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The request that is being answered, for tasks that work for it elsewhere; `None` outside of one.
pub(crate) fn current() -> Option<Arc<RequestContext>> {
    CURRENT.try_with(Arc::clone).ok()
}

/// The id of the request that is being answered, for the services behind; empty outside of one.
pub(crate) fn current_request_id() -> String {
    CURRENT.try_with(|current| current.id.to_str().unwrap_or_default().to_owned()).unwrap_or_default()
}

/// Changes headers that the answer will have, whatever its status; does nothing outside of a request.
pub(crate) fn with_answer_headers(change: impl FnOnce(&mut HeaderMap)) {
    // Outside there is no answer that could have them.
    let _ = CURRENT.try_with(|current| change(&mut current.headers.lock().unwrap_or_else(PoisonError::into_inner)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_asked_for_within_a_request_belongs_to_it() {
        let context = RequestContext::new(HeaderValue::from_static("r1"));
        let work = async {
            with_answer_headers(|headers| drop(headers.insert("ratelimit", HeaderValue::from_static("x"))));
            current_request_id()
        };
        assert_eq!(Arc::clone(&context).scope(work).await, "r1");
        assert_eq!(context.take_headers()["ratelimit"], "x");
        assert!(context.take_headers().is_empty());
        with_answer_headers(|_| unreachable!("there is no request"));
        assert_eq!(current_request_id(), "");
    }
}
