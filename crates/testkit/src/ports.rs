//! Free loopback ports for servers whose address must be known before they start.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// Below Linux's ephemeral range (32768 up), so that no outgoing connection takes a port between here and the bind.
const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A port nobody listens on. Processes start at different places, so that concurrent test binaries seldom meet.
///
/// # Errors
/// When none is free.
pub fn free_port() -> Result<u16> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(COUNT))?;
    for _ in 0..COUNT {
        let offset = (u32::from(start) + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset)?;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT)
}
