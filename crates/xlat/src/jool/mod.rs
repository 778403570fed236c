//! The command line of Jool 4.1 under its own names, `jool` and `jool_siit`: same words, abbreviations, outputs, messages and
//! exit codes, in front of this daemon. docs/migration.md says what differs.

mod autocomplete;
mod command;
mod execute;
mod fail;
mod file;
mod help;
pub(crate) mod joold;
mod keyword;
mod names;
mod options;
mod session;
mod show;
mod stats;
mod switches;
mod values;
mod way_out;

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::Path;
use std::process::ExitCode;

use xlat_config::FILE_BYTES_MAX;
use xlat_control::api::Translator;

use fail::{Fail, INVALID, TOO_BIG};
use options::{FIRST, Item};

/// The release of Jool whose commands these are.
const RELEASE: &str = "4.1.15.0";

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// NAT64.
    Jool,
    /// SIIT.
    JoolSiit,
}

impl Program {
    /// By the name that it was called by.
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Jool, Self::JoolSiit].into_iter().find(|program| program.name() == name)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jool => "jool",
            Self::JoolSiit => "jool_siit",
        }
    }

    fn translator(self) -> Translator {
        match self {
            Self::Jool => Translator::Nat64,
            Self::JoolSiit => Translator::Siit,
        }
    }
}

/// Runs one command line, without the program's name.
pub(crate) fn main(program: Program, words: &[String]) -> ExitCode {
    ended(run(program, words))
}

/// Says how a command ended.
fn ended(result: Result<(), Fail>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            // Without standard streams there is nobody to tell.
            let _ = io::stdout().write_all(fail.stdout.as_bytes());
            let _ = io::stderr().write_all(fail.stderr.as_bytes());
            ExitCode::from(fail.code)
        }
    }
}

fn run(program: Program, words: &[String]) -> Result<(), Fail> {
    let (instance, rest) = first_batch(program, words)?;
    if let Some(("autocomplete", rest)) = rest.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        return Err(Fail::help(format!("{}\n", autocomplete::candidates(program, rest))));
    }
    let (command, warnings) = command::parse(program, &rest)?;
    for warning in warnings {
        // As above.
        let _ = writeln!(io::stderr(), "Warning: {warning}");
    }
    execute::execute(program, instance, command)
}

/// What stands before the mode: the instance's name, if one is given, and the words from the mode on.
fn first_batch(program: Program, words: &[String]) -> Result<(Option<String>, Vec<String>), Fail> {
    if words.is_empty() {
        return Err(Fail::help(help::program(program)));
    }
    let items = options::scan(FIRST, words, false).map_err(|wrong| Fail {
        stdout: help::program(program),
        stderr: format!("{}: {wrong}\n", program.name()),
        code: 0,
    })?;
    let (mut instance, mut rest) = (None, Vec::new());
    for item in items {
        match item {
            Item::Option("help", _) => return Err(Fail::help(help::program(program))),
            Item::Option("usage", _) => return Err(Fail::help(help::short(program))),
            Item::Option("version", _) => return Err(Fail::help(help::version())),
            Item::Option("file", Some(path)) => instance = Some(name_in_file(Path::new(&path))?),
            Item::Option(_, argument) => instance = argument,
            Item::Word(word) => rest.push(word),
        }
    }
    Ok((instance, rest))
}

/// Reads a file; on failure the exit code is the error's number.
fn read_file(path: &Path) -> Result<String, Fail> {
    let number =
        |error: &io::Error| error.raw_os_error().and_then(|number| u8::try_from(number).ok()).unwrap_or(1);
    let mut content = Vec::new();
    let mut read = || fs::File::open(path)?.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content);
    let read = read();
    if content.len() > FILE_BYTES_MAX {
        let what = format!("The file \"{}\" has more than {FILE_BYTES_MAX} bytes.", path.display());
        return Err(Fail::client(what, TOO_BIG));
    }
    let text = read.and_then(|_| {
        String::from_utf8(content).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    });
    text.map_err(|error| {
        // "No such file or directory (os error 2)" is more than strerror(3) says.
        let text = error.to_string();
        let text = text.split(" (os error").next().unwrap_or_default();
        Fail::client(format!("Could not open file \"{}\": {text}", path.display()), number(&error))
    })
}

/// The top-level `instance` tag of a JSON file.
fn name_in_file(path: &Path) -> Result<String, Fail> {
    let content = read_file(path)?;
    let wrong = |what: &str| Fail::client(format!("{}: {what}", path.display()), INVALID);
    let root = serde_json::Deserializer::from_str(&content).into_iter::<serde_json::Value>().next();
    let root = root.and_then(Result::ok).ok_or_else(|| wrong("this is not JSON"))?;
    let object = root.as_object().ok_or_else(|| wrong("the root of the file is not an object"))?;
    let tag = object.iter().find(|(key, _)| key.eq_ignore_ascii_case("instance")).map(|(_, value)| value);
    let name = tag.and_then(serde_json::Value::as_str);
    name.map(str::to_owned).ok_or_else(|| wrong("Object '<unnamed>' is missing the 'instance' child."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(line: &str) -> Result<(Option<String>, Vec<String>), Fail> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        first_batch(Program::Jool, &words)
    }

    #[test]
    fn the_last_name_counts_and_the_mode_ends_the_options() {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            first("-i a --inst=b pool4 display -i"),
            Ok((Some("b".to_owned()), words(&["pool4", "display", "-i"])))
        );
        assert_eq!(first("stats d"), Ok((None, words(&["stats", "d"]))));
    }

    #[test]
    fn help_and_mistakes_end_with_zero() {
        for line in ["", "--help", "-?", "--h"] {
            assert_eq!(first(line), Err(Fail::help(help::program(Program::Jool))), "{line}");
        }
        assert_eq!(first("-V").unwrap_err().stdout, "4.1.15.0\n");
        for (line, complaint) in [
            ("-h", "jool: invalid option -- 'h'\n"),
            ("--foo", "jool: unrecognized option '--foo'\n"),
            ("-i", "jool: option requires an argument -- 'i'\n"),
        ] {
            let fail = first(line).unwrap_err();
            assert_eq!((fail.stderr.as_str(), fail.code), (complaint, 0));
            assert_eq!(fail.stdout, help::program(Program::Jool));
        }
        assert!(
            help::program(Program::JoolSiit)
                .contains("blacklist4 -> display add remove flush \n  - denylist4")
        );
    }

    #[test]
    fn a_file_can_name_the_instance() {
        let path = std::env::temp_dir().join(format!("xlat-name-{}.json", std::process::id()));
        let named = |content: &str| {
            fs::write(&path, content).unwrap();
            let named = name_in_file(&path);
            fs::remove_file(&path).unwrap();
            named.map_err(|fail| fail.code)
        };
        assert_eq!(named("{\"Instance\": \"n1\", \"other\": [1]} trailing"), Ok("n1".to_owned()));
        for wrong in ["", "[]", "{}", "{\"instance\": 5}"] {
            assert_eq!(named(wrong), Err(234), "{wrong}");
        }
        let fail = name_in_file(&path).unwrap_err();
        let expected =
            format!("Error: Could not open file \"{}\": No such file or directory\n", path.display());
        assert_eq!((fail.stderr, fail.code), (expected, 2));
    }
}
