//! `autocomplete INDEX WORD...`: what could stand at word number INDEX of a command line, 1 being the mode (cli 15). It has something to
//! say about every line and never fails.

use xlat_control::globals::{self, Form};

use super::keyword::{Keyword, global_keys, list, modes, resolve};
use super::{Program, switches};

/// The candidates, a blank between them.
pub(super) fn candidates(program: Program, words: &[String]) -> String {
    let translator = program.translator();
    let index = words.first().and_then(|index| index.parse::<usize>().ok()).unwrap_or(1);
    let mut line = words.get(1..).unwrap_or_default();
    // Shells count the program's own name as word 0.
    if line.first().is_some_and(|first| first.rsplit('/').next().and_then(Program::named).is_some()) {
        line = line.get(1..).unwrap_or_default();
    }
    let word = |at: usize| line.get(at).map_or("", String::as_str);
    let starting = |known: &[Keyword], at: usize| {
        let fits = |keyword: &&Keyword| !keyword.hidden && keyword.name.starts_with(word(at));
        list(known.iter().filter(fits))
    };
    let known: Vec<Keyword> = modes(translator).map(|mode| mode.keyword).collect();
    if index <= 1 {
        return starting(&known, 0).trim_end().to_owned();
    }
    let Ok(mode) = resolve(Some(word(0)), &known) else { return String::new() };
    let operations =
        modes(translator).find(|found| found.keyword.name == mode).map_or(&[][..], |found| found.operations);
    if index == 2 {
        return starting(operations, 1).trim_end().to_owned();
    }
    let Ok(operation) = resolve(Some(word(1)), operations) else { return String::new() };
    let mut found = Vec::new();
    if (mode, operation) == ("global", "update") {
        let keys = global_keys(translator);
        if index == 3 {
            return starting(&keys, 2).trim_end().to_owned();
        }
        let key = resolve(Some(word(2)), &keys).ok();
        let key = globals::keys(translator).find(|known| Some(known.name) == key);
        found.extend(key.map_or(&[][..], |key| typical(key.form)).iter().map(|value| (*value).to_owned()));
    }
    let own = switches::of(mode, operation).iter().map(|switch| switch.long);
    found.extend(own.chain(["help", "usage", "version"]).map(|long| format!("--{long}")));
    found.join(" ")
}

/// Values that an option often has.
fn typical(form: Form) -> &'static [&'static str] {
    match form {
        Form::Boolean => &["true", "false"],
        Form::Hairpin => &["off", "simple", "intrinsic"],
        Form::Prefix6 => &["64:ff9b::/96"],
        Form::Number(_) | Form::FArgs | Form::Prefix4 | Form::Plateaus | Form::Timeout(..) => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_of_a_line() {
        let ask = |line: &str| {
            let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            candidates(Program::Jool, &words)
        };
        for (line, expected) in [
            ("1 jool", "instance stats global pool4 bib session file"),
            ("1 s", "stats session"),
            ("2 jool i", "display add remove flush status"),
            ("2 i s", "status"),
            ("3 pool4 a", "--tcp --udp --icmp --mark --max-iterations --force --help --usage --version"),
            ("7 pool4 flush x y z", "--quick --help --usage --version"),
            ("3 g u ss-f", "ss-flush-asap ss-flush-deadline"),
            ("4 g u logging-bib", "true false --force --help --usage --version"),
            ("4 g u udp", "--force --help --usage --version"),
            ("2 eamt", ""),
            ("3 nonsense at all", ""),
            ("", "instance stats global pool4 bib session file"),
            ("x y", ""),
            ("99 i d", "--csv --no-headers --help --usage --version"),
        ] {
            assert_eq!(ask(line), expected, "{line}");
        }
    }
}
