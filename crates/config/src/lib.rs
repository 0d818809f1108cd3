//! Configuration: command line > environment (`RAGSTONE__SECTION__KEY`) > TOML file > defaults. Knows no service.

mod dump;
mod list;
mod load;
mod reference;
mod secret;

pub use dump::dump;
pub use list::list;
pub use load::{ConfigError, Merged, Sources, environment};
pub use reference::reference;
pub use secret::{REDACTED, Secret};
