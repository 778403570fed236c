//! Numbers as people read them.

/// With a prefix of SI: three digits.
pub(super) fn scaled(value: f64, unit: &str) -> String {
    const PREFIXES: [&str; 6] = ["", "k", "M", "G", "T", "P"];
    let (mut value, mut step) = (value, 0);
    while value >= 999.5 && step + 1 < PREFIXES.len() {
        (value, step) = (value / 1000.0, step + 1);
    }
    let digits = if value >= 99.95 || (step == 0 && value.fract() == 0.0) { 0 } else { 1 };
    let prefix = PREFIXES.get(step).copied().unwrap_or_default();
    format!("{value:.digits$} {prefix}{unit}")
}

/// With commas between thousands.
pub(super) fn whole(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate: small ones with a decimal.
pub(super) fn rate(value: f64) -> String {
    if value >= 99.95 {
        whole(value.round() as u64)
    } else if value > 0.0 {
        format!("{value:.1}")
    } else {
        "0".to_owned()
    }
}

/// A part of a whole, in percent.
pub(super) fn percent(part: f64) -> String {
    format!("{:.*} %", usize::from(part > 0.0 && part < 0.1), part * 100.0)
}

/// The two greatest units of a time in milliseconds.
pub(super) fn duration(ms: u64) -> String {
    let (days, hours, minutes) = (ms / 86_400_000, ms / 3_600_000 % 24, ms / 60_000 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{} s", ms / 1000),
        (0, 0, minutes) => format!("{minutes} min"),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        for (value, text) in [
            (0.0, "0 b"),
            (7.0, "7 b"),
            (7.25, "7.2 b"),
            (999.4, "999 b"),
            (999.9, "1.0 kb"),
            (12_345.0, "12.3 kb"),
            (99_960.0, "100 kb"),
            (1.5e9, "1.5 Gb"),
            (2e20, "200000 Pb"),
        ] {
            assert_eq!(scaled(value, "b"), text);
        }
        assert_eq!(whole(0), "0");
        assert_eq!(whole(999), "999");
        assert_eq!(whole(1_234_567), "1,234,567");
        assert_eq!((rate(0.0), rate(0.5), rate(1234.5)), ("0".into(), "0.5".into(), "1,235".into()));
        assert_eq!(
            (percent(0.0), percent(0.051), percent(1.0)),
            ("0 %".into(), "5.1 %".into(), "100 %".into())
        );
        assert_eq!(duration(59_999), "59 s");
        assert_eq!(duration(3_660_000), "1 h 1 min");
        assert_eq!(duration(90_000_000), "1 d 1 h");
    }
}
