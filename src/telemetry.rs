//! Logs: to stderr, so that stdout carries documents and nothing else.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// Called once, by the binary.
pub fn start(log: &Log) {
    let filter = EnvFilter::new(&log.level)
        // It would log a message returned as unroutable, body and all.
        .add_directive(crate::broker::LOG_DIRECTIVE.parse().expect("a directive"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if log.format == "json" {
        builder.json().init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).init();
    }
}
