//! The ledger of requirements.

#[test]
fn placeholder() {}
