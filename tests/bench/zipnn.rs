//! zipnn, a Python package: given the same chunks as a file, in the same run on the same core.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use super::race::{Figures, median, raw_bytes};
use super::series::Pair;

const SCRIPT: &str = "scripts/python/zipnn_speed.py";

/// What the script prints.
#[derive(Deserialize)]
struct Answer {
    stored: Vec<usize>,
    encode: Vec<f64>,
    decode: Vec<f64>,
}

/// The figures of zipnn, or why there are none.
pub fn measure(pairs: &[Pair], rounds: usize) -> Result<Figures, String> {
    let python = std::env::var("PYTHON").map_err(|_| "PYTHON names no interpreter".to_owned())?;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("zipnn-{}", std::process::id()));
    let mut file = std::fs::File::create(&path).map_err(|error| error.to_string())?;
    for pair in pairs {
        file.write_all(&(pair.raw.len() as u32).to_le_bytes()).map_err(|error| error.to_string())?;
        file.write_all(&pair.raw).map_err(|error| error.to_string())?;
    }
    let kind = if pairs[0].width == 2 { "bfloat16" } else { "float32" };
    let done = Command::new(python)
        .arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(SCRIPT))
        .args([path.as_os_str(), kind.as_ref(), rounds.to_string().as_ref()])
        .output();
    std::fs::remove_file(&path).map_err(|error| error.to_string())?;
    let done = done.map_err(|error| error.to_string())?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr);
        return Err(said.trim().lines().last().unwrap_or("it failed and said nothing").to_owned());
    }
    let mut answer: Answer = serde_json::from_slice(&done.stdout).map_err(|error| error.to_string())?;
    let megabytes = raw_bytes(pairs) as f64 / 1e6;
    Ok(Figures {
        name: "zipnn".into(),
        ratio: answer.stored.iter().sum::<usize>() as f64 / 1e6 / megabytes,
        encode: megabytes / median(&mut answer.encode),
        decode: megabytes / median(&mut answer.decode),
        stored: answer.stored,
    })
}
