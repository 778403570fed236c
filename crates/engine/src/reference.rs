//! The list of all drop reasons as a page for operators.

use std::fmt::Write;

use crate::reason::Reason;

impl Reason {
    /// `docs/drop-reasons.md`: every reason with what it means, where it comes from, and Jool's name for it.
    pub fn reference() -> String {
        let mut page = String::from(
            "# Drop reasons\n\n\
             Generated from the code: `UPDATE_DOCS=1 cargo test -p xlat-engine --test reference`.\n\n\
             Every packet that is not translated is counted under exactly one of these. \
             What to do about the frequent ones is in [troubleshooting.md](troubleshooting.md).\n\n",
        );
        let mut group = "";
        for reason in Self::all() {
            let title = reason.group();
            if group != title {
                group = title;
                let _ = write!(
                    page,
                    "## {title}\n\n| reason | meaning | source | Jool's counter |\n|---|---|---|---|\n"
                );
            }
            let counter = match reason.counter() {
                "" => String::new(),
                counter => format!("`{counter}`"),
            };
            let _ = writeln!(
                page,
                "| `{}` | {} | {} | {counter} |",
                reason.name(),
                reason.explanation(),
                reason.source()
            );
            let last_of_group = Self::all().nth(reason.index() + 1).is_none_or(|next| next.group() != group);
            if last_of_group {
                page.push('\n');
            }
        }
        page.truncate(page.trim_end().len());
        page.push('\n');
        page
    }

    fn group(self) -> &'static str {
        match self {
            Self::Malformed(_) => "The packet cannot be read",
            Self::Rewrite(_) => "The rules for one packet",
            Self::Address(_) => "An address has no translation",
            Self::State(_) => "NAT64 state",
            Self::Fragment(_) => "Fragments",
            Self::Pipeline(_) => "The way through the instances",
        }
    }
}
