//! How every service starts, serves, is called, is watched and stops.

mod admin;
mod client;
mod config;
mod cors;
mod health;
mod observe;
mod patience;
mod run;
mod serve;
mod server;
mod status;
mod tls;

pub use admin::{Admin, AdminPort, serve_admin};
pub use client::{Dialer, connect, deadline, request};
pub use config::{ServerConfig, ServiceConfig};
pub use health::{CheckReport, Health, Report, Trouble};
pub use patience::Patience;
pub use run::{CONFIG_EXIT, Runtime, SECTIONS, bind, exit_code, load, load_shared, run, stop_signal, unusable};
pub use serve::Peer;
pub use server::Server;
pub use status::{error_from, status};
pub use tls::{ClientTlsConfig, TlsConfig};
