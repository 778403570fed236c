//! What people read is true: the reference is the one the code makes, the examples load without a warning.

use std::path::{Path, PathBuf};

use xlat_config::{Hint, Kind, load, load_file, reference};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

#[test]
fn reference_is_up_to_date() {
    let path = docs().join("configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, reference()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == reference(),
        "docs/configuration.md is out of date: UPDATE_DOCS=1 cargo test -p xlat-config"
    );
}

#[test]
fn toml_in_the_reference_loads() {
    let page = reference();
    let (_, rest) = page.split_once("```toml\n").unwrap();
    let (example, _) = rest.split_once("```").unwrap();
    load("reference", example, &Hint::default()).unwrap();
}

#[test]
fn examples_load_without_warnings() {
    for (name, stateful) in
        [("nat64.toml", true), ("siit.toml", false), ("siit-dc.toml", false), ("464xlat-clat.toml", false)]
    {
        let loaded = load_file(&docs().join("examples").join(name), &Hint::default())
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert_eq!(loaded.warnings.list, [], "{name}");
        assert_eq!(loaded.config.instances.len(), 1);
        assert_eq!(matches!(loaded.config.instances[0].kind, Kind::Nat64(_)), stateful, "{name}");
    }
}

#[test]
fn a_file_that_is_not_there() {
    let error = load_file(Path::new("no/such/file.toml"), &Hint::default()).unwrap_err();
    assert!(error.to_string().contains("no/such/file.toml: cannot read the file"), "{error}");
}
