//! Named reasons: why a packet was not passed on.
//!
//! Each crate that can refuse a packet declares its reasons once, as data, with [`reasons!`](crate::reasons): a stable
//! name for operators, the counter of Jool that users' scripts know, the section that the decision comes from,
//! and a line of explanation. The engine joins these enums into one list with one counter each.

/// Declares an enum of reasons.
///
/// Each line is `Variant: "name", "JOOL_COUNTER" or "", "source", "explanation";`. The enum gets `ALL`,
/// `index`, `name`, `counter`, `source` and `explanation`, and a `Display` that prints the name.
#[macro_export]
macro_rules! reasons {
    ($(#[$meta:meta])* pub enum $Enum:ident {
        $($Variant:ident: $name:literal, $counter:literal, $source:literal, $explanation:literal;)+
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum $Enum { $(#[doc = $explanation] $Variant),+ }

        impl $Enum {
            /// Every reason, in the order of its counter.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),+];

            /// Position in [`Self::ALL`].
            pub const fn index(self) -> usize {
                self as usize
            }

            /// Stable name, in lower case with hyphens.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$Variant => $name),+ }
            }

            /// The counter under which Jool's users know it, or an empty string where Jool has none.
            pub const fn counter(self) -> &'static str {
                match self { $(Self::$Variant => $counter),+ }
            }

            /// Where the rule comes from: RFC and section, or the house's own limit.
            pub const fn source(self) -> &'static str {
                match self { $(Self::$Variant => $source),+ }
            }

            /// One line for a person.
            pub const fn explanation(self) -> &'static str {
                match self { $(Self::$Variant => $explanation),+ }
            }
        }

        impl core::fmt::Display for $Enum {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}
