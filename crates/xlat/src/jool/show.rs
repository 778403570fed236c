//! How tables look, to the byte (cli 3.3 and the section of each mode): pure functions from rows to text.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use xlat_control::api::{
    BibRow, Denied, Eam, Framework, Instance, Pool4Row, SessionRow, Translation, Translator,
};
use xlat_control::globals::{self, Form};

use super::command::Format;
use super::values::clock;

/// A table in a frame, or as CSV: what comes before its rows, between them and after them.
pub(super) struct Frame {
    widths: &'static [usize],
    header: &'static [&'static str],
    csv: &'static str,
    /// A separator comes before the first row of each group, rather than once behind the header.
    grouped: bool,
    /// Without headers one separator comes before the rows all the same.
    always_opened: bool,
}

pub(super) const INSTANCES: Frame = Frame {
    widths: &[18, 15, 9],
    header: &["Namespace", "Name", "Framework"],
    csv: "Namespace,Name,Framework",
    grouped: false,
    always_opened: true,
};

pub(super) const EAMT: Frame = Frame {
    widths: &[43, 18],
    header: &["IPv6 Prefix", "IPv4 Prefix"],
    csv: "IPv6 Prefix,IPv4 Prefix",
    grouped: false,
    always_opened: false,
};

pub(super) const DENYLIST4: Frame = Frame {
    widths: &[18],
    header: &["IPv4 Prefix"],
    csv: "IPv4 Prefix",
    grouped: false,
    always_opened: false,
};

pub(super) const POOL4: Frame = Frame {
    widths: &[10, 5, 18, 15, 11],
    header: &["Mark", "Proto", "Max iterations", "Address", "Ports"],
    csv: "Mark,Protocol,Address,Min port,Max port,Iterations,Iterations fixed",
    grouped: true,
    always_opened: false,
};

const BIB_CSV: &str = "Protocol,IPv6 Address,IPv6 L4-ID,IPv4 Address,IPv4 L4-ID,Static?\n";
const SESSION_CSV: &str = "Protocol,IPv6 Remote Address,IPv6 Remote L4-ID,IPv6 Local Address,IPv6 Local L4-ID,\
IPv4 Local Address,IPv4 Local L4-ID,IPv4 Remote Address,IPv4 Remote L4-ID,Expires in,State\n";
/// Between two sessions.
pub(super) const DASHES: &str = "---------------------------------\n";

impl Frame {
    pub(super) fn separator(&self) -> String {
        let cells: String = self.widths.iter().map(|width| format!("{}+", "-".repeat(width + 2))).collect();
        format!("+{cells}\n")
    }

    fn row(&self, cells: &[String]) -> String {
        let cells: String =
            self.widths.iter().zip(cells).map(|(&width, cell)| format!(" {cell:>width$} |")).collect();
        format!("|{cells}\n")
    }

    /// Before the rows.
    pub(super) fn head(&self, format: Format) -> String {
        match (format.csv, format.no_headers) {
            (true, true) => String::new(),
            (true, false) => format!("{}\n", self.csv),
            (false, true) if self.always_opened => self.separator(),
            (false, true) => String::new(),
            (false, false) => {
                let header: Vec<String> = self.header.iter().map(|cell| (*cell).to_owned()).collect();
                let behind = if self.grouped { String::new() } else { self.separator() };
                format!("{}{}{behind}", self.separator(), self.row(&header))
            }
        }
    }

    /// After the rows.
    pub(super) fn foot(&self, format: Format, is_empty: bool) -> String {
        match (format.csv, self.grouped && is_empty) {
            (true, _) => String::new(),
            (false, true) => self.separator().repeat(2),
            (false, false) => self.separator(),
        }
    }
}

/// A row of `instance display`.
pub(super) fn instance(row: &Instance, format: Format) -> String {
    let framework = match row.framework {
        Framework::Netfilter => "netfilter",
        Framework::Iptables => "iptables",
    };
    let namespace = format!("{:x}", row.namespace & 0xffff_ffff);
    match format.csv {
        true => format!("{namespace},{},{framework}\n", row.name),
        false => INSTANCES.row(&[namespace, row.name.clone(), framework.to_owned()]),
    }
}

/// A row of `eamt display`.
pub(super) fn eam(row: &Eam, format: Format) -> String {
    let Eam { ipv6, ipv4 } = row;
    match format.csv {
        true => format!("{ipv6},{ipv4}\n"),
        false => EAMT.row(&[
            format!("{:>39}/{:<3}", ipv6.addr().to_string(), ipv6.prefix_len()),
            format!("{:>15}/{:<2}", ipv4.addr().to_string(), ipv4.prefix_len()),
        ]),
    }
}

/// A row of `denylist4 display`.
pub(super) fn denied(row: &Denied, format: Format) -> String {
    let prefix = row.prefix;
    match format.csv {
        true => format!("{prefix}\n"),
        false => DENYLIST4.row(&[format!("{:>15}/{:<2}", prefix.addr().to_string(), prefix.prefix_len())]),
    }
}

/// A row of `pool4 display`; `previous` is the one before.
pub(super) fn pool4(row: &Pool4Row, previous: Option<&Pool4Row>, format: Format) -> String {
    let protocol = row.protocol.label();
    if format.csv {
        let iterations = row.iterations.map_or_else(|| "infinite".to_owned(), |number| number.to_string());
        return format!(
            "{},{protocol},{},{},{},{iterations},{}\n",
            row.mark,
            row.address,
            row.first_port,
            row.last_port,
            u8::from(row.iterations_fixed)
        );
    }
    let (address, ports) = (row.address.to_string(), format!("{:>5}-{:>5}", row.first_port, row.last_port));
    if previous.is_some_and(|previous| previous.mark == row.mark) {
        return POOL4.row(&[String::new(), String::new(), String::new(), address, ports]);
    }
    let iterations = row.iterations.map_or_else(|| "Infinite".to_owned(), |number| number.to_string());
    let how = if row.iterations_fixed { "(fixed)" } else { "( auto)" };
    let first =
        [row.mark.to_string(), protocol.to_owned(), format!("{iterations:>10} {how}"), address, ports];
    format!("{}{}", POOL4.separator(), POOL4.row(&first))
}

/// Before the rows of `bib display`.
pub(super) fn bib_head(format: Format) -> &'static str {
    if format.csv && !format.no_headers { BIB_CSV } else { "" }
}

/// A row of `bib display`; `ipv6` is the client as it is to be shown.
pub(super) fn bib(row: &BibRow, ipv6: &str, format: Format) -> String {
    let pair = row.pair;
    let protocol = pair.protocol.label();
    if format.csv {
        let (a6, p6, a4, p4) = (pair.ipv6.address, pair.ipv6.port, pair.ipv4.address, pair.ipv4.port);
        return format!("{protocol},{a6},{p6},{a4},{p4},{}\n", u8::from(row.is_static));
    }
    let kind = if row.is_static { "Static" } else { "Dynamic" };
    format!("[{kind} {protocol}] {}#{} - {ipv6}\n", pair.ipv4.address, pair.ipv4.port)
}

/// Before the rows of `session display`.
pub(super) fn session_head(format: Format) -> &'static str {
    match (format.csv, format.no_headers) {
        (true, false) => SESSION_CSV,
        (true, true) => "",
        (false, _) => DASHES,
    }
}

/// A row of `session display`; `ipv4` and `ipv6` are the two nodes as they are to be shown.
pub(super) fn session(row: &SessionRow, ipv4: &str, ipv6: &str, format: Format) -> String {
    let left = clock(row.expires_in);
    if format.csv {
        let state = row.state.as_ref().map(|state| format!(",{state}")).unwrap_or_default();
        return format!(
            "{},{},{},{},{},{},{},{},{},{left}{state}\n",
            row.protocol.label(),
            row.remote6.address,
            row.remote6.port,
            row.local6.address,
            row.local6.port,
            row.local4.address,
            row.local4.port,
            row.remote4.address,
            row.remote4.port,
        );
    }
    let state = row.state.as_ref().map(|state| format!("({state}) ")).unwrap_or_default();
    format!(
        "{state}Expires in {left}\nRemote: {ipv4}\t{ipv6}\nLocal: {}#{}\t{}#{}\n{DASHES}",
        row.local4.address, row.local4.port, row.local6.address, row.local6.port,
    )
}

/// The whole of `global display`.
pub(super) fn globals(translator: Translator, values: &Map<String, Value>, format: Format) -> String {
    let mut text = String::new();
    if format.csv && !format.no_headers {
        text.push_str("Field,Value\n");
    }
    for key in globals::keys(translator) {
        let Some(value) = values.get(key.name) else { continue };
        let shown = global(key.form, value, format.csv);
        // Writing to a string does not fail.
        let _ = match format.csv {
            true => writeln!(text, "{},{shown}", key.name),
            false => writeln!(text, "  {}: {shown}", key.name),
        };
    }
    text
}

fn global(form: Form, value: &Value, csv: bool) -> String {
    match (form, value) {
        (Form::Prefix6 | Form::Prefix4, Value::Null) if csv => String::new(),
        (Form::Prefix6 | Form::Prefix4, Value::Null) => "(unset)".to_owned(),
        (Form::Boolean, value) if csv => value.to_string().to_uppercase(),
        (Form::Timeout(..), value) => {
            let clock = clock(value.as_u64().unwrap_or_default());
            if csv { clock } else { format!("{clock} (HH:MM:SS)") }
        }
        (Form::Plateaus, Value::Array(list)) => {
            let list = list.iter().map(Value::to_string).collect::<Vec<_>>().join(",");
            if csv { format!("\"{list}\"") } else { list }
        }
        (Form::FArgs, value) if !csv => {
            let bits = value.as_u64().unwrap_or_default();
            let bit = |number: u64| bits >> number & 1;
            format!(
                "{bits} (0b{bits:04b}): SrcAddr:{} SrcPort:{} DstAddr:{} DstPort:{}",
                bit(3),
                bit(2),
                bit(1),
                bit(0)
            )
        }
        (_, Value::String(text)) => text.clone(),
        (_, value) => value.to_string(),
    }
}

/// The whole of `address query`.
pub(super) fn translation(found: &Translation, verbose: bool) -> String {
    let Translation { query, result, eam, pool6 } = found;
    if !verbose {
        return format!("{result}\n");
    }
    let (scheme, entry, operation) = match (eam, pool6) {
        (Some(Eam { ipv6, ipv4 }), _) => (
            "EAMT",
            format!("EAM: {ipv6} | {ipv4}"),
            match query.is_ipv4() {
                true => format!("{query} - {ipv4} + {ipv6} = {result}"),
                false => format!("{query} - {ipv6} + {ipv4} = {result}"),
            },
        ),
        (None, pool6) => {
            let prefix = pool6.map(|prefix| prefix.to_string()).unwrap_or_default();
            let operation = match query.is_ipv4() {
                true => format!("{prefix} + {query} = {result}"),
                false => format!("{query} - {prefix} = {result}"),
            };
            ("RFC 6052 prefix", format!("Prefix: {prefix}"), operation)
        }
    };
    format!(
        "  Query: {query}\n  Scheme: {scheme}\n    {entry}\n  Operation: {operation}\n  Result: {result}\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const HUMAN: Format = Format { csv: false, no_headers: false, numeric: true };
    const CSV: Format = Format { csv: true, no_headers: false, numeric: true };
    const BARE: Format = Format { csv: false, no_headers: true, numeric: true };

    fn from<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    /// The tables of the contract.
    #[test]
    fn instances() {
        let rows: [Instance; 2] = from(json!([
            {"namespace": 0x6b51_4d00_u64, "name": "default", "translator": "nat64", "framework": "netfilter"},
            {"namespace": 0xffff_8e7a_6b51_4d00_u64, "name": "alpha", "translator": "nat64", "framework": "iptables"},
        ]));
        let rows: String = rows.iter().map(|row| instance(row, HUMAN)).collect();
        assert_eq!(
            INSTANCES.head(HUMAN) + &rows + &INSTANCES.foot(HUMAN, false),
            "\
+--------------------+-----------------+-----------+
|          Namespace |            Name | Framework |
+--------------------+-----------------+-----------+
|           6b514d00 |         default | netfilter |
|           6b514d00 |           alpha |  iptables |
+--------------------+-----------------+-----------+
"
        );
        let line = "+--------------------+-----------------+-----------+\n";
        assert_eq!(INSTANCES.head(BARE) + &INSTANCES.foot(BARE, true), line.repeat(2));
        assert_eq!(INSTANCES.head(CSV) + &INSTANCES.foot(CSV, true), "Namespace,Name,Framework\n");
    }

    #[test]
    fn eamt() {
        let rows: [Eam; 2] = from(json!([
            {"ipv6": "2001:db8:4::/120", "ipv4": "192.0.2.0/24"},
            {"ipv6": "2001:db8:dddd::/64", "ipv4": "192.0.2.128/26"},
        ]));
        let text: String = rows.iter().map(|row| eam(row, HUMAN)).collect();
        assert_eq!(
            EAMT.head(HUMAN) + &text + &EAMT.foot(HUMAN, false),
            "\
+---------------------------------------------+--------------------+
|                                 IPv6 Prefix |        IPv4 Prefix |
+---------------------------------------------+--------------------+
|                            2001:db8:4::/120 |       192.0.2.0/24 |
|                         2001:db8:dddd::/64  |     192.0.2.128/26 |
+---------------------------------------------+--------------------+
"
        );
        assert_eq!(eam(&rows[0], CSV), "2001:db8:4::/120,192.0.2.0/24\n");
        assert_eq!(EAMT.head(BARE) + &EAMT.foot(BARE, true), EAMT.separator());
        assert_eq!(EAMT.head(HUMAN).lines().count() + EAMT.foot(HUMAN, true).lines().count(), 4);
        let row: Denied = from(json!({"prefix": "198.51.100.32/27"}));
        assert_eq!(denied(&row, HUMAN), "|   198.51.100.32/27 |\n");
        assert_eq!(
            DENYLIST4.head(HUMAN),
            "+--------------------+\n|        IPv4 Prefix |\n+--------------------+\n"
        );
    }

    #[test]
    fn pool4_sets() {
        let row = |mark: u32, address: &str, first: u16, last: u16, iterations: Option<u64>, fixed: bool| {
            Pool4Row {
                mark,
                protocol: Default::default(),
                address: address.parse().unwrap(),
                first_port: first,
                last_port: last,
                iterations,
                iterations_fixed: fixed,
            }
        };
        let rows = [
            row(1, "192.0.2.1", 1500, 2500, Some(1024), false),
            row(0, "192.0.2.1", 1000, 3000, Some(2059), false),
            row(0, "192.0.2.8", 1, 65535, Some(2059), false),
        ];
        let mut text = POOL4.head(HUMAN);
        for (at, row) in rows.iter().enumerate() {
            text += &pool4(row, at.checked_sub(1).map(|before| &rows[before]), HUMAN);
        }
        text += &POOL4.foot(HUMAN, false);
        assert_eq!(
            text,
            "\
+------------+-------+--------------------+-----------------+-------------+
|       Mark | Proto |     Max iterations |         Address |       Ports |
+------------+-------+--------------------+-----------------+-------------+
|          1 |   TCP |       1024 ( auto) |       192.0.2.1 |  1500- 2500 |
+------------+-------+--------------------+-----------------+-------------+
|          0 |   TCP |       2059 ( auto) |       192.0.2.1 |  1000- 3000 |
|            |       |                    |       192.0.2.8 |     1-65535 |
+------------+-------+--------------------+-----------------+-------------+
"
        );
        assert_eq!(POOL4.head(BARE) + &POOL4.foot(BARE, true), POOL4.separator().repeat(2));
        assert_eq!(
            pool4(&row(0, "192.0.2.1", 1000, 3000, Some(1024), false), None, CSV),
            "0,TCP,192.0.2.1,1000,3000,1024,0\n"
        );
        assert_eq!(
            pool4(&row(0, "192.0.2.1", 1, 1, None, true), None, CSV),
            "0,TCP,192.0.2.1,1,1,infinite,1\n"
        );
        assert!(
            pool4(&row(0, "192.0.2.1", 1, 1, None, true), None, HUMAN).contains("|   Infinite (fixed) |")
        );
    }

    #[test]
    fn bib_and_sessions() {
        let row: BibRow = from(json!({"protocol": "tcp", "ipv6": {"address": "2001:db8::6", "port": 66},
            "ipv4": {"address": "192.0.2.4", "port": 44}, "static": true, "sessions": 0}));
        assert_eq!(bib(&row, "2001:db8::6#66", HUMAN), "[Static TCP] 192.0.2.4#44 - 2001:db8::6#66\n");
        assert_eq!(bib(&row, "", CSV), "TCP,2001:db8::6,66,192.0.2.4,44,1\n");
        let mut row: SessionRow = from(json!({"protocol": "tcp",
            "remote6": {"address": "2001:db8::8", "port": 37878}, "local6": {"address": "64:ff9b::c000:208", "port": 1234},
            "local4": {"address": "192.0.2.1", "port": 62805}, "remote4": {"address": "192.0.2.8", "port": 1234},
            "expires-in": 7_198_232, "state": "ESTABLISHED"}));
        assert_eq!(
            session_head(HUMAN).to_owned() + &session(&row, "192.0.2.8#1234", "2001:db8::8#37878", HUMAN),
            "---------------------------------\n\
             (ESTABLISHED) Expires in 1:59:58.232\n\
             Remote: 192.0.2.8#1234\t2001:db8::8#37878\n\
             Local: 192.0.2.1#62805\t64:ff9b::c000:208#1234\n\
             ---------------------------------\n"
        );
        let fields = "2001:db8::8,37878,64:ff9b::c000:208,1234,192.0.2.1,62805,192.0.2.8,1234";
        assert_eq!(session(&row, "", "", CSV), format!("TCP,{fields},1:59:58.232,ESTABLISHED\n"));
        (row.protocol, row.state) = (xlat_control::api::Protocol::Udp, None);
        assert_eq!(session(&row, "", "", CSV), format!("UDP,{fields},1:59:58.232\n"));
        assert!(session(&row, "", "", HUMAN).starts_with("Expires in 1:59:58.232\n"));
    }

    #[test]
    fn global_values() {
        let values = json!({"manually-enabled": true, "pool6": null, "tos": 5, "mtu-plateaus": [1500, 68],
            "f-args": 11, "tcp-est-timeout": 7_200_000});
        let Value::Object(values) = values else { panic!() };
        assert_eq!(
            globals(Translator::Nat64, &values, HUMAN),
            "  manually-enabled: true\n  pool6: (unset)\n  tos: 5\n  mtu-plateaus: 1500,68\n  \
             f-args: 11 (0b1011): SrcAddr:1 SrcPort:0 DstAddr:1 DstPort:1\n  \
             tcp-est-timeout: 2:00:00 (HH:MM:SS)\n"
        );
        assert_eq!(
            globals(Translator::Nat64, &values, CSV),
            "Field,Value\nmanually-enabled,TRUE\npool6,\ntos,5\nmtu-plateaus,\"1500,68\"\nf-args,11\n\
             tcp-est-timeout,2:00:00\n"
        );
    }

    #[test]
    fn address_query() {
        let eam: Translation = from(json!({"query": "192.0.2.225", "result": "64:ff9b::1",
            "eam": {"ipv6": "64:ff9b::/127", "ipv4": "192.0.2.224/31"}, "pool6": null}));
        assert_eq!(
            translation(&eam, true),
            "  Query: 192.0.2.225\n  Scheme: EAMT\n    EAM: 64:ff9b::/127 | 192.0.2.224/31\n  \
             Operation: 192.0.2.225 - 192.0.2.224/31 + 64:ff9b::/127 = 64:ff9b::1\n  Result: 64:ff9b::1\n"
        );
        let pool6: Translation = from(json!({"query": "64:ff9b::c000:2f8", "result": "192.0.2.248",
            "eam": null, "pool6": "64:ff9b::/96"}));
        assert_eq!(
            translation(&pool6, true),
            "  Query: 64:ff9b::c000:2f8\n  Scheme: RFC 6052 prefix\n    Prefix: 64:ff9b::/96\n  \
             Operation: 64:ff9b::c000:2f8 - 64:ff9b::/96 = 192.0.2.248\n  Result: 192.0.2.248\n"
        );
        assert_eq!(translation(&pool6, false), "192.0.2.248\n");
    }
}
