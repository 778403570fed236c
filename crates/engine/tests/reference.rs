//! `docs/drop-reasons.md` says what the code does.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::path::Path;

#[test]
fn the_page_of_drop_reasons_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/drop-reasons.md");
    let page = xlat_engine::Reason::reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == page, "docs/drop-reasons.md is out of date: run this test with UPDATE_DOCS=1");
}
