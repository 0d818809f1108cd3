//! Progress bars: on standard error, and only where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar that counts to `total`. It draws nothing where standard error is not a terminal.
pub(crate) fn bar(total: u64, label: &'static str) -> ProgressBar {
    styled(total, "{prefix:>10} {wide_bar} {pos}/{len} {eta}", label)
}

/// A bar that counts bytes to `total`.
pub(crate) fn bytes(total: u64, label: &'static str) -> ProgressBar {
    styled(total, "{prefix:>10} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}", label)
}

fn styled(total: u64, template: &str, label: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()).with_style(style).with_prefix(label)
}
