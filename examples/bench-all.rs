//! `cargo bench-all`: hands over to `benches/all.py`, which measures the job beside what a user would take instead.

use std::{
    path::Path,
    process::{Command, ExitCode},
};

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Where `.ci/run` keeps boto3; a person's own Python will do as well.
    let kept = root.join("target/ci/tools/bin/python");
    let python = if kept.exists() { kept } else { "python3".into() };
    let mut command = Command::new(&python);
    match command.arg("benches/all.py").args(std::env::args_os().skip(1)).current_dir(root).status() {
        Ok(status) => ExitCode::from(u8::from(!status.success())),
        Err(error) => {
            eprintln!("error: cannot start {}: {error}", python.display());
            ExitCode::FAILURE
        }
    }
}
