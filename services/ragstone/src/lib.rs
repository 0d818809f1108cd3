//! The command line, and `ragstone up`: all five services in one process.
