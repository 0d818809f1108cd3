//! The issuer's published keys: fetched when they are first needed, renewed in time, and used on while the issuer is away.

mod fetch;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use ragstone_core::{Error, Result};
use tokio::sync::Mutex;

use crate::algorithm::JwtAlgorithm;
use crate::clock::Clock;
use crate::config::{JwtConfig, jwks_url};
use crate::failure::Reason;
use crate::keyset::{KeySet, Wanted};
use fetch::{Fetched, Fetcher};

/// The least and the most time for which keys are used before they are fetched again, whatever the issuer says.
const MIN_FRESH: Duration = Duration::from_secs(60);
const MAX_FRESH: Duration = Duration::from_secs(3600);
/// The least time between two fetches: strangers can cause one by naming a key that does not exist, and an issuer that is
/// down is not asked for every request.
const PAUSE: Duration = Duration::from_secs(10);
/// How long a key that the issuer does not have is not asked for again.
const UNKNOWN_FOR: Duration = Duration::from_secs(30);
/// Ids of such keys remembered at most.
const MAX_UNKNOWN: usize = 1_000;

/// The keys at one address.
pub(crate) struct Jwks {
    fetcher: Fetcher,
    allowed: Vec<JwtAlgorithm>,
    refresh: Duration,
    stale: Duration,
    clock: Clock,
    state: RwLock<State>,
    /// Held while fetching, so that many callers fetch once.
    fetching: Mutex<()>,
}

#[derive(Default)]
struct State {
    keys: Option<Held>,
    /// When the last fetch ended, and whether it brought keys.
    last: Option<(Instant, bool)>,
    /// Counts fetches, so that who waited for one knows that it happened.
    fetches: u64,
    /// Ids that the issuer did not have when it was asked for them.
    unknown: HashMap<String, Instant>,
}

#[derive(Clone)]
struct Held {
    set: Arc<KeySet>,
    fresh_until: Instant,
}

/// What to do about the keys before a token is checked.
enum Plan {
    Use(Arc<KeySet>),
    /// Fetch; until then these may serve.
    Renew(Option<Arc<KeySet>>),
    Refuse,
}

impl Jwks {
    /// Nothing is fetched yet.
    ///
    /// # Errors
    /// `InvalidArgument` for an address that cannot be used.
    pub(crate) fn new(config: &JwtConfig, clock: Clock) -> Result<Self> {
        Ok(Self {
            fetcher: Fetcher::new(jwks_url(&config.jwks_url).map_err(Error::invalid)?)?,
            allowed: config.algorithms.clone(),
            refresh: Duration::from_secs(config.jwks_refresh_seconds),
            stale: Duration::from_secs(config.jwks_stale_seconds),
            clock,
            state: RwLock::default(),
            fetching: Mutex::default(),
        })
    }

    /// The same with keys that need not be fetched.
    #[cfg(test)]
    pub(crate) fn holding(mut self, json: &str, allowed: &[JwtAlgorithm]) -> Self {
        let (set, now) = (KeySet::parse(json.as_bytes(), allowed).unwrap_or_default(), self.clock.instant());
        self.allowed = allowed.to_vec();
        let keys = Some(Held { set: Arc::new(set), fresh_until: now + MAX_FRESH });
        self.state = RwLock::new(State { keys, last: Some((now, true)), ..State::default() });
        self
    }

    /// Checks a signature with the key that is wanted.
    ///
    /// # Errors
    /// `Signature`, `UnknownKey`, or `KeysUnavailable` when the issuer does not answer and the key is not known.
    pub(crate) async fn verify(
        self: &Arc<Self>,
        wanted: Wanted<'_>,
        signed: &str,
        signature: &str,
    ) -> Result<(), Reason> {
        if !self.allowed.contains(&wanted.algorithm) {
            return Err(Reason::Algorithm);
        }
        let (set, seen) = self.current().await?;
        if let Some(key) = set.find(wanted) {
            return key.verify(signed, signature);
        }
        let set = self.after_rotation(wanted, seen).await?;
        set.find(wanted).ok_or(Reason::UnknownKey)?.verify(signed, signature)
    }

    /// The keys to use now, fetched where need be, and how many fetches there had been.
    async fn current(self: &Arc<Self>) -> Result<(Arc<KeySet>, u64), Reason> {
        let (plan, seen) = self.plan();
        match plan {
            Plan::Use(set) => return Ok((set, seen)),
            Plan::Refuse => return Err(Reason::KeysUnavailable),
            // One caller fetches; the others need not wait for it.
            Plan::Renew(Some(set)) if self.fetching.try_lock().is_err() => return Ok((set, seen)),
            Plan::Renew(_) => self.fetch(seen).await,
        }
        match self.plan() {
            (Plan::Use(set) | Plan::Renew(Some(set)), seen) => Ok((set, seen)),
            (Plan::Renew(None) | Plan::Refuse, _) => Err(Reason::KeysUnavailable),
        }
    }

    fn plan(&self) -> (Plan, u64) {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        let usable = state.keys.as_ref().filter(|keys| now < keys.fresh_until + self.stale);
        let fresh = usable.is_some_and(|keys| now < keys.fresh_until);
        let paused = state.last.is_some_and(|(at, _)| now < at + PAUSE);
        let plan = match (usable.map(|keys| Arc::clone(&keys.set)), fresh || paused) {
            (Some(set), true) => Plan::Use(set),
            (None, true) => Plan::Refuse,
            (set, false) => Plan::Renew(set),
        };
        (plan, state.fetches)
    }

    /// The keys when a token names one that was not among them: the issuer may have a new one.
    async fn after_rotation(self: &Arc<Self>, wanted: Wanted<'_>, seen: u64) -> Result<Arc<KeySet>, Reason> {
        if self.is_unknown(wanted.kid) {
            return Err(Reason::UnknownKey);
        }
        let last = self.state.read().unwrap_or_else(PoisonError::into_inner).last;
        if last.is_none_or(|(at, _)| self.clock.instant() >= at + PAUSE) {
            self.fetch(seen).await;
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let (set, last) = (state.keys.as_ref().map(|keys| Arc::clone(&keys.set)), state.last);
        let (Some(set), Some((_, true))) = (set, last) else { return Err(Reason::KeysUnavailable) };
        if state.fetches != seen && set.find(wanted).is_none() {
            state.remember_unknown(wanted.kid, self.clock.instant());
        }
        Ok(set)
    }

    fn is_unknown(&self, kid: Option<&str>) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let since = kid.and_then(|kid| state.unknown.get(kid));
        since.is_some_and(|since| self.clock.instant() < *since + UNKNOWN_FOR)
    }

    /// Fetches, unless somebody did since `seen`. In a task of its own: callers that leave must not undo the count of fetches,
    /// or strangers could cause any number.
    async fn fetch(self: &Arc<Self>, seen: u64) {
        let own = Arc::clone(self);
        if let Err(error) = tokio::spawn(async move { own.fetch_once(seen).await }).await {
            tracing::error!(%error, "the fetch of the issuer's keys broke off");
        }
    }

    async fn fetch_once(&self, seen: u64) {
        let _fetching = self.fetching.lock().await;
        if self.state.read().unwrap_or_else(PoisonError::into_inner).fetches != seen {
            return;
        }
        let fetched = self.fetcher.fetch(&self.allowed).await;
        let outcome = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("rag_jwks_fetches_total", "outcome" => outcome).increment(1);
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let now = self.clock.instant();
        state.fetches += 1;
        state.last = Some((now, fetched.is_ok()));
        match fetched {
            Ok(Fetched { set, max_age }) => {
                let fresh = max_age.map_or(self.refresh, |age| age.clamp(MIN_FRESH, MAX_FRESH));
                state.unknown.clear();
                state.keys = Some(Held { set: Arc::new(set), fresh_until: now + fresh });
            }
            Err(error) => tracing::warn!(error, "the issuer's keys cannot be fetched"),
        }
    }
}

impl State {
    fn remember_unknown(&mut self, kid: Option<&str>, now: Instant) {
        self.unknown.retain(|_, since| now < *since + UNKNOWN_FOR);
        if let Some(kid) = kid.filter(|_| self.unknown.len() < MAX_UNKNOWN) {
            self.unknown.insert(kid.to_owned(), now);
        }
    }
}
