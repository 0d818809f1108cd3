//! How every service starts, serves, is called, is watched and stops.

mod admin;
mod client;
mod config;
mod health;
mod observe;
mod patience;
mod run;
mod server;
mod status;

pub use admin::{Admin, AdminPort, serve_admin};
pub use client::{connect, deadline, request};
pub use config::{ServerConfig, ServiceConfig};
pub use health::{CheckReport, Health, Report, Trouble};
pub use patience::Patience;
pub use run::{CONFIG_EXIT, Runtime, SECTIONS, bind, exit_code, load, load_shared, run, stop_signal, unusable};
pub use server::Server;
pub use status::{error_from, status};
