//! What Jool's client finds in an atomic file before the translator hears of it, with other exit codes than what the translator
//! refuses (config 1).

use xlat_config::{Diagnostic, Hint, Place, Severity};
use xlat_control::api::Translator;

use super::fail::{EXISTS, Fail, INVALID};

/// Words of what is wrong with a value though it can be read: that is the translator's to say.
const MEANING: &[&str] = &[
    "pool6 is mandatory in NAT64 instances.",
    "is not a valid prefix length for pool6",
    "seems to have a suffix",
    "octet (bits 64 to 71)",
    "is not made of unicast addresses",
    "The IPv4 suffix length must be",
];

/// What the command line says about a file.
pub(super) fn hint(translator: Translator, name: &str) -> Hint {
    let kind = match translator {
        Translator::Siit => xlat_config::Translator::Siit,
        Translator::Nat64 => xlat_config::Translator::Nat64,
    };
    Hint { name: (!name.is_empty()).then(|| name.to_owned()), kind: Some(kind), json: true }
}

/// Refuses what is no configuration file at all: no JSON, unknown or missing keys, values of wrong types.
pub(super) fn readable(translator: Translator, name: &str, content: &str) -> Result<(), Fail> {
    if content.trim().is_empty() {
        return Err(Fail::invalid("The JSON parser got confused around the beginning of this string: "));
    }
    let Err(found) = xlat_config::load("the file", content, &hint(translator, name)) else { return Ok(()) };
    // Only what was found while reading belongs to no part of a configuration.
    let is_read = |one: &&Diagnostic| one.severity == Severity::Error && one.place == Place::File;
    let is_form = |one: &&Diagnostic| !MEANING.iter().any(|words| one.message.contains(words));
    match found.list.iter().filter(is_read).find(is_form) {
        Some(first) => Err(refused(first)),
        None => Ok(()),
    }
}

fn refused(found: &Diagnostic) -> Fail {
    let code = if found.message.starts_with("Multiple '") { EXISTS } else { INVALID };
    let help = found.help.as_ref().map(|help| format!("\nhelp: {help}")).unwrap_or_default();
    Fail::client(format!("{}{help}", found.message), code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_the_clients_and_what_it_means_the_translators() {
        let code = |rest: &str| {
            let content = format!("{{\"instance\": \"i\", \"framework\": \"netfilter\"{rest}");
            readable(Translator::Nat64, "", &content).map_err(|fail| fail.code)
        };
        let pool6 = |prefix: &str| format!(", \"global\": {{\"pool6\": \"{prefix}\"}}");
        assert_eq!(code(&format!("{}}}", pool6("64:ff9b::/96"))), Ok(()));
        for engines in
            ["}".to_owned(), format!("{}}}", pool6("64:ff9b::/95")), format!("{}}}", pool6("64:ff9b::1/96"))]
        {
            assert_eq!(code(&engines), Ok(()), "{engines}");
        }
        for clients in
            ["", ", \"eamt\": []}", ", \"global\": 1}", ", \"bib\": [{}]}", ", \"global\": {\"tos\": 256}}"]
        {
            assert_eq!(code(clients), Err(234), "{clients}");
        }
        assert_eq!(code(", \"Instance\": \"i\"}"), Err(239));
        assert_eq!(readable(Translator::Siit, "", "\n").map_err(|fail| fail.code), Err(234));
    }
}
