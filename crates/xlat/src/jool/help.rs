//! What `--help`, `--usage` and `--version` print.

use std::fmt::Write as _;

use super::keyword::{list, modes};
use super::options::Switch;
use super::{Program, RELEASE};

/// `--version`.
pub(super) fn version() -> String {
    format!("{RELEASE}\n")
}

/// `--usage` of a program.
pub(super) fn short(program: Program) -> String {
    let name = program.name();
    format!("Usage: {name} [-?V] [-i NAME] [-f FILE] [--help] [--usage] [--version] MODE OPERATION [ARGP2]\n")
}

/// `--help` of a program.
pub(super) fn program(program: Program) -> String {
    let name = program.name();
    let mut text = format!(
        "Usage: {name} [ARGP1] MODE OPERATION [ARGP2]\n\n\
         ARGP1: options before the mode:\n\
         \x20 -?, --help             this list\n\
         \x20 -V, --version          the version\n\
         \x20     --usage            the syntax in short\n\
         \x20 -i, --instance=NAME    the instance to operate on (default: default)\n\
         \x20 -f, --file=FILE        read the instance's name from the tag 'instance' of a JSON file\n\n\
         MODE -> OPERATION:\n"
    );
    for mode in modes(program.translator()).filter(|mode| !mode.keyword.hidden) {
        let operations = list(mode.operations.iter().filter(|operation| !operation.hidden));
        // Writing to a string does not fail.
        let _ = writeln!(text, "  - {} -> {operations}", mode.keyword.name);
    }
    text.push_str(
        "\nARGP2: options and arguments of the operation; OPERATION --help lists them.\n\n\
         Report bugs where xlat comes from.\n",
    );
    text
}

/// `--help` of an operation.
pub(super) fn operation(operation: &str, known: &[Switch]) -> String {
    let mut text = format!("Usage: {operation} [OPTION...] ARGS\n\n");
    for switch in known {
        let short = switch.short.map_or_else(|| "    ".to_owned(), |short| format!("-{short}, "));
        let long = match switch.argument {
            Some(argument) => format!("--{}={argument}", switch.long),
            None => format!("--{}", switch.long),
        };
        let _ = writeln!(text, "  {short}{long:<22} {}", switch.doc);
    }
    text.push_str("\nReport bugs where xlat comes from.\n");
    text
}

/// `--usage` of an operation.
pub(super) fn usage(operation: &str, known: &[Switch]) -> String {
    let mut text = format!("Usage: {operation}");
    for switch in known {
        let argument = switch.argument.map(|argument| format!("={argument}")).unwrap_or_default();
        let _ = write!(text, " [--{}{argument}]", switch.long);
    }
    text.push_str(" ARGS\n");
    text
}
