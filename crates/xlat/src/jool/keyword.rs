//! The words of the command line before the options: modes and operations, and how they may be abbreviated.

use xlat_control::api::Translator;
use xlat_control::globals;

use super::fail::Fail;

/// A word with a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyword {
    pub(super) name: &'static str,
    /// The only translator that has it; `None`: both.
    only: Option<Translator>,
    /// Neither listed nor abbreviated.
    pub(super) hidden: bool,
}

/// A mode with its operations.
pub(super) struct Mode {
    pub(super) keyword: Keyword,
    pub(super) operations: &'static [Keyword],
}

const fn both(name: &'static str) -> Keyword {
    Keyword { name, only: None, hidden: false }
}

const fn siit(name: &'static str) -> Keyword {
    Keyword { only: Some(Translator::Siit), ..both(name) }
}

const fn nat64(name: &'static str) -> Keyword {
    Keyword { only: Some(Translator::Nat64), ..both(name) }
}

const fn hidden(keyword: Keyword) -> Keyword {
    Keyword { hidden: true, ..keyword }
}

const TABLE: &[Keyword] = &[both("display"), both("add"), both("remove"), both("flush")];

/// All modes, in the order of the help.
pub(super) static MODES: &[Mode] = &[
    Mode {
        keyword: both("instance"),
        operations: &[both("display"), both("add"), both("remove"), both("flush"), both("status")],
    },
    Mode { keyword: both("stats"), operations: &[both("display")] },
    Mode { keyword: siit("address"), operations: &[both("query")] },
    Mode { keyword: both("global"), operations: &[both("display"), both("update")] },
    Mode { keyword: siit("eamt"), operations: TABLE },
    Mode { keyword: siit("blacklist4"), operations: TABLE },
    Mode { keyword: siit("denylist4"), operations: TABLE },
    Mode { keyword: nat64("pool4"), operations: TABLE },
    Mode { keyword: nat64("bib"), operations: &[both("display"), both("add"), both("remove")] },
    Mode {
        keyword: nat64("session"),
        operations: &[both("display"), both("follow"), both("proxy"), both("advertise")],
    },
    Mode { keyword: both("file"), operations: &[both("handle"), hidden(both("check"))] },
    Mode { keyword: hidden(nat64("joold")), operations: &[both("advertise")] },
];

/// The modes of one program, hidden ones included.
pub(super) fn modes(translator: Translator) -> impl Iterator<Item = &'static Mode> {
    MODES.iter().filter(move |mode| mode.keyword.only.is_none_or(|only| only == translator))
}

/// The keys of `global update`.
pub(super) fn global_keys(translator: Translator) -> Vec<Keyword> {
    globals::keys(translator).map(|key| both(key.name)).collect()
}

/// Which of `known` is meant by `word`; `None` stands for a word that is missing.
pub(super) fn resolve(word: Option<&str>, known: &[Keyword]) -> Result<&'static str, Fail> {
    let visible = || known.iter().filter(|keyword| !keyword.hidden);
    let Some(word) = word else {
        return Err(Fail::usage(format!(
            "More arguments expected.\nPossible follow-ups: {}\n",
            list(visible())
        )));
    };
    if let Some(exact) = known.iter().find(|keyword| keyword.name == word) {
        return Ok(exact.name);
    }
    let candidates: Vec<&Keyword> = visible().filter(|keyword| keyword.name.starts_with(word)).collect();
    match candidates.as_slice() {
        [only] => Ok(only.name),
        [] => {
            Err(Fail::usage(format!("Unexpected token: '{word}'\nAvailable options: {}\n", list(visible()))))
        }
        several => Err(Fail::usage(format!(
            "Ambiguous token: '{word}'\nAvailable options: {}\n",
            list(several.iter().copied())
        ))),
    }
}

/// The names, a blank behind each.
pub(super) fn list<'k>(keywords: impl Iterator<Item = &'k Keyword>) -> String {
    keywords.map(|keyword| format!("{} ", keyword.name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(translator: Translator, word: Option<&str>) -> Result<&'static str, String> {
        let known: Vec<Keyword> = modes(translator).map(|mode| mode.keyword).collect();
        resolve(word, &known).map_err(|fail| fail.stderr)
    }

    /// The examples of the contract (cli 2.2).
    #[test]
    fn abbreviations() {
        let (nat64, siit) = (Translator::Nat64, Translator::Siit);
        assert_eq!(mode(siit, Some("i")), Ok("instance"));
        assert_eq!(mode(nat64, Some("g")), Ok("global"));
        assert_eq!(mode(nat64, Some("joold")), Ok("joold"), "hidden words in full");
        assert_eq!(
            mode(nat64, Some("s")),
            Err("Ambiguous token: 's'\nAvailable options: stats session \n".to_owned())
        );
        let all = "instance stats global pool4 bib session file ";
        assert_eq!(
            mode(nat64, Some("joo")),
            Err(format!("Unexpected token: 'joo'\nAvailable options: {all}\n"))
        );
        assert_eq!(mode(nat64, Some("")), Err(format!("Ambiguous token: ''\nAvailable options: {all}\n")));
        assert_eq!(
            mode(siit, None),
            Err("More arguments expected.\nPossible follow-ups: \
                 instance stats address global eamt blacklist4 denylist4 file \n"
                .to_owned())
        );
        let keys = global_keys(nat64);
        let fail = resolve(Some("ss"), &keys).unwrap_err();
        assert_eq!(
            fail.stderr,
            "Ambiguous token: 'ss'\nAvailable options: ss-enabled ss-flush-asap ss-flush-deadline ss-capacity \
             ss-max-payload ss-max-sessions-per-packet \n"
        );
        assert_eq!(fail.code, 234);
        assert_eq!(resolve(Some("udp"), &keys).ok(), Some("udp-timeout"));
    }
}
