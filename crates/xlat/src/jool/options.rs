//! The two batches of options, as getopt_long(3) and argp read them (cli 2.1, 2.3): pure functions from words to what they
//! say.

use super::fail::Fail;

/// An option of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Switch {
    pub(super) long: &'static str,
    pub(super) short: Option<char>,
    /// Name of its argument, if it takes one.
    pub(super) argument: Option<&'static str>,
    pub(super) doc: &'static str,
}

/// One thing on the command line behind the operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    /// An option by its long name, with its argument.
    Option(&'static str, Option<String>),
    /// Anything else.
    Word(String),
}

/// What every batch has.
pub(super) const HELP: Switch =
    Switch { long: "help", short: Some('?'), argument: None, doc: "Give this help list" };
pub(super) const USAGE: Switch =
    Switch { long: "usage", short: None, argument: None, doc: "Give a short usage message" };
pub(super) const VERSION: Switch =
    Switch { long: "version", short: Some('V'), argument: None, doc: "Print program version" };

/// The options before the mode.
pub(super) const FIRST: &[Switch] = &[
    HELP,
    USAGE,
    VERSION,
    Switch { long: "instance", short: Some('i'), argument: Some("NAME"), doc: "Name of the instance" },
    Switch { long: "file", short: Some('f'), argument: Some("FILE"), doc: "File that names the instance" },
];

/// Reads `words`. Without `permute` the first one that is no option ends it and everything from there on is a word.
/// What is wrong is said in getopt's words, without the program's name.
pub(super) fn scan(known: &[Switch], words: &[String], permute: bool) -> Result<Vec<Item>, String> {
    let mut items = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            items.extend(words.by_ref().cloned().map(Item::Word));
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, argument) = match long.split_once('=') {
                Some((name, argument)) => (name, Some(argument.to_owned())),
                None => (long, None),
            };
            let option = long_option(known, name)?;
            let argument = match (option.argument, argument) {
                (None, None) => None,
                (None, Some(_)) => {
                    return Err(format!("option '--{}' doesn't allow an argument", option.long));
                }
                (Some(_), Some(argument)) => Some(argument),
                (Some(_), None) => {
                    let missing = || format!("option '--{}' requires an argument", option.long);
                    Some(words.next().cloned().ok_or_else(missing)?)
                }
            };
            items.push(Item::Option(option.long, argument));
        } else if word.len() > 1 && word.starts_with('-') {
            let mut letters = word.chars().skip(1);
            while let Some(letter) = letters.next() {
                let option = known.iter().find(|option| option.short == Some(letter));
                let option = option.ok_or_else(|| format!("invalid option -- '{letter}'"))?;
                if option.argument.is_none() {
                    items.push(Item::Option(option.long, None));
                    continue;
                }
                let rest: String = letters.by_ref().collect();
                let missing = || format!("option requires an argument -- '{letter}'");
                let argument =
                    if rest.is_empty() { words.next().cloned().ok_or_else(missing)? } else { rest };
                items.push(Item::Option(option.long, Some(argument)));
            }
        } else {
            items.push(Item::Word(word.clone()));
            if !permute {
                items.extend(words.by_ref().cloned().map(Item::Word));
            }
        }
    }
    Ok(items)
}

/// Full name, or the beginning of exactly one.
fn long_option<'o>(known: &'o [Switch], name: &str) -> Result<&'o Switch, String> {
    if let Some(exact) = known.iter().find(|option| option.long == name) {
        return Ok(exact);
    }
    let candidates: Vec<&Switch> = known.iter().filter(|option| option.long.starts_with(name)).collect();
    match candidates.as_slice() {
        [only] => Ok(only),
        [] => Err(format!("unrecognized option '--{name}'")),
        several => {
            let names: String = several.iter().map(|option| format!(" '--{}'", option.long)).collect();
            Err(format!("option '--{name}' is ambiguous; possibilities:{names}"))
        }
    }
}

/// The options of an operation with the three that each has; help, usage and version are answered here.
pub(super) fn second(operation: &str, own: &[Switch], words: &[String]) -> Result<Vec<Item>, Fail> {
    let known: Vec<Switch> = own.iter().copied().chain([HELP, USAGE, VERSION]).collect();
    let items = scan(&known, words, true).map_err(|wrong| Fail::argp(operation, wrong))?;
    for item in &items {
        match item {
            Item::Option("help", _) => return Err(Fail::help(super::help::operation(operation, &known))),
            Item::Option("usage", _) => return Err(Fail::help(super::help::usage(operation, &known))),
            Item::Option("version", _) => return Err(Fail::help(super::help::version())),
            Item::Option(..) | Item::Word(_) => {}
        }
    }
    Ok(items)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: &[Switch] = &[
        Switch { long: "csv", short: None, argument: None, doc: "" },
        Switch { long: "tcp", short: Some('t'), argument: None, doc: "" },
        Switch { long: "mark", short: None, argument: Some("NUM"), doc: "" },
        Switch { long: "max-iterations", short: Some('m'), argument: Some("NUM"), doc: "" },
    ];

    fn read(line: &str) -> Result<Vec<Item>, Fail> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        second("display", OWN, &words)
    }

    #[test]
    fn options_and_words_in_any_order() {
        let option = |long, argument: Option<&str>| Item::Option(long, argument.map(str::to_owned));
        let word = |word: &str| Item::Word(word.to_owned());
        assert_eq!(
            read("a -t b --mark 5 --max=7 -m8 -tm 9 -- --csv -").unwrap(),
            [
                word("a"),
                option("tcp", None),
                word("b"),
                option("mark", Some("5")),
                option("max-iterations", Some("7")),
                option("max-iterations", Some("8")),
                option("tcp", None),
                option("max-iterations", Some("9")),
                word("--csv"),
                word("-"),
            ]
        );
    }

    #[test]
    fn wrong_ones_in_the_words_of_argp() {
        let tail = "\nTry `display --help' or `display --usage' for more information.\n";
        for (line, what) in [
            ("--foo", "unrecognized option '--foo'"),
            ("-x", "invalid option -- 'x'"),
            ("--csv=1", "option '--csv' doesn't allow an argument"),
            ("--mark", "option '--mark' requires an argument"),
            ("-m", "option requires an argument -- 'm'"),
            ("--ma 1", "option '--ma' is ambiguous; possibilities: '--mark' '--max-iterations'"),
        ] {
            let fail = read(line).unwrap_err();
            assert_eq!((fail.stderr, fail.code), (format!("display: {what}{tail}"), 64), "{line}");
        }
        for line in ["--help", "-?", "--usage", "-V", "--vers"] {
            let fail = read(line).unwrap_err();
            assert!(fail.code == 0 && fail.stderr.is_empty() && !fail.stdout.is_empty(), "{line}");
        }
    }
}
