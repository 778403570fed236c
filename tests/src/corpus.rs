//! Where the vector files are, and all of them played on one subject.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::runner::{Subject, play};
use crate::vector::{Case, read};

/// Every `.vec` file below `tests/vectors` with its cases, by path. The error names the file and line.
pub fn files() -> Result<Vec<(PathBuf, Vec<Case>)>, String> {
    let mut paths = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors"), &mut paths).map_err(|e| e.to_string())?;
    paths.sort();
    let load = |path: PathBuf| {
        let text = fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let cases = read(&text).map_err(|e| format!("{}:{e}", path.display()))?;
        Ok((path, cases))
    };
    paths.into_iter().map(load).collect()
}

/// Plays every case that `wanted` agrees to (it gets file, line and name) on `subject`. Gives their number; the error
/// says what failed.
pub fn play_all(subject: &mut dyn Subject, wanted: impl Fn(&str, &Case) -> bool) -> Result<usize, String> {
    let (mut count, mut faults) = (0, Vec::new());
    for (path, cases) in files()? {
        for case in &cases {
            let place = format!("{}:{} {}", path.display(), case.line, case.name);
            if wanted(&place, case) {
                count += 1;
                faults.extend(play(case, subject).err().map(|message| format!("{place}\n{message}")));
            }
        }
    }
    if faults.is_empty() {
        return Ok(count);
    }
    Err(format!("{} of {count} cases failed\n\n{}", faults.len(), faults.join("\n")))
}

fn find(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, paths)?;
        } else if path.extension().is_some_and(|end| end == "vec") {
            paths.push(path);
        }
    }
    Ok(())
}
