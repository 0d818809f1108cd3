//! The connections to one Redis. A call takes the next that is there and never waits for one.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};

use fred::clients::Client;
use fred::interfaces::FredResult;
use ragstone_core::{Error, Result};
use tokio::task::JoinSet;

use super::link::Link;
use super::problem::{self, Problem};
use super::settings::{Section, Settings};
use crate::CacheConfig;

/// Some links to the same Redis.
pub(crate) struct Pool {
    links: Vec<Link>,
    next: AtomicUsize,
    settings: Settings,
    /// Each keeps one link connected; they end with the pool.
    _supervisors: JoinSet<()>,
}

impl Pool {
    /// Connects in the background, and goes on doing so whenever Redis is gone. Returns after the first try.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the key of `section`, when a setting cannot be used or Redis refuses it.
    pub(crate) async fn connect(config: &CacheConfig, section: Section) -> Result<Self> {
        let named = |error: Error| Error { message: section.named(&error.message), ..error };
        config.validate().map_err(named)?;
        let settings = Settings::new(config, section).map_err(named)?;
        let mut supervisors = JoinSet::new();
        let links: Vec<Link> =
            (0..config.redis_pool_size).map(|_| Link::start(settings.clone(), &mut supervisors)).collect();
        let pool = Self { links, next: AtomicUsize::new(0), settings, _supervisors: supervisors };
        match pool.links.first() {
            Some(link) => match link.first_try().await {
                Some(problem) if problem.setting_at_fault => Err(problem.for_operators()),
                _ => Ok(pool),
            },
            None => Err(named(Error::invalid("cache.redis_pool_size must lie between 1 and 64"))),
        }
    }

    /// A connected link, the next in turn.
    fn link(&self) -> Result<(&Link, Client), Problem> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        let mut problem = None;
        for n in 0..self.links.len() {
            let Some(link) = self.links.get(first.wrapping_add(n) % self.links.len()) else { continue };
            match link.client() {
                Ok(client) => return Ok((link, client)),
                Err(why) => problem = problem.or(Some(why)),
            }
        }
        Err(problem.unwrap_or_else(Problem::not_yet_connected))
    }

    /// The answer of Redis to what `command` asks it.
    pub(crate) async fn call<T, F: Future<Output = FredResult<T>>>(
        &self,
        command: impl FnOnce(Client) -> F,
    ) -> Result<T, Problem> {
        let (link, client) = self.link()?;
        let outcome = tokio::select! {
            biased;
            outcome = command(client) => outcome,
            problem = link.lost() => return Err(problem),
        };
        match outcome {
            Ok(answer) => {
                link.answered();
                Ok(answer)
            }
            Err(error) => {
                let problem = Problem::of(&error, &self.settings);
                if problem.kind == problem::TIMEOUT {
                    link.timed_out()
                } else {
                    link.answered()
                }
                Err(problem)
            }
        }
    }

    /// Whether what `probe` asks is answered.
    pub(crate) async fn check<F: Future<Output = FredResult<()>>>(
        &self,
        probe: impl FnOnce(Client) -> F,
    ) -> Result<()> {
        // Of all the first link's: its first try has been waited for.
        let mut problem = None;
        for link in &self.links {
            match link.client() {
                Ok(client) => {
                    return probe(client).await.map_err(|e| Problem::of(&e, &self.settings).for_operators());
                }
                Err(why) => problem = problem.or(Some(why)),
            }
        }
        Err(problem.unwrap_or_else(Problem::not_yet_connected).for_operators())
    }
}
