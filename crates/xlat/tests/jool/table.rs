//! Every command line of the contract with everything that it prints and how it ends. `table/` has the lines, one file for
//! each of the contract's parts and its sections as headings; the snapshots have the answers. Lines are shell: quotes, pipes
//! and files are what they are in scripts.

use crate::lab::Scene;

fn table(name: &str, lines: &str, with_daemon: bool) {
    let Some(scene) = Scene::build(name) else { return };
    let _daemon = with_daemon.then(|| scene.daemon());
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, scene.transcript(lines));
    });
}

macro_rules! tables {
    ($($function:ident $file:literal $with_daemon:literal)*) => {$(
        #[test]
        fn $function() {
            table($file, include_str!(concat!("table/", $file, ".txt")), $with_daemon);
        }
    )*};
}

tables! {
    without_a_translator "02-no-translator" false
    arguments "03-arguments" true
    instances "04-instance" true
    statistics "05-stats" true
    globals "07-global" true
    tables_of_siit "08-siit-tables" true
    pool4 "10-pool4" true
    bib_and_sessions "11-state" true
    files "13-file" true
    autocomplete "15-autocomplete" false
    cheat_sheet "20-cheat-sheet" true
}
