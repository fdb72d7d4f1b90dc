//! The binary: reads the command line and calls one function.

use std::process::ExitCode;

fn main() -> ExitCode {
    pikou::cli::main()
}
