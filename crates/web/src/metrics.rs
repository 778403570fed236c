//! A snapshot as the text of `/metrics`. Each family stands with its name and help in one place; `docs/monitoring.md` and the
//! dashboard are compared with what comes out.

use std::fmt::{self, Write as _};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, EncodeLabelValue, EncodeMetric,
    LabelValueEncoder,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use xlat_control::live::{Directions, Flow, Instance, Live, Pool4, Reason, Table};
use xlat_fastpath::count::Counter;

use crate::Exposition;

/// The text of `/metrics`, in the one or the other of its forms.
///
/// # Errors
///
/// Text is written to memory, which does not fail.
pub fn metrics(live: &Live, form: Exposition) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("xlat");
    let build = vec![("version", Escaped(live.version.clone())), ("device", Escaped(live.device.clone()))];
    registry.register("build", "Release of the daemon and its device", Info::new(build));
    registry.register_collector(Box::new(Snapshot(live.clone())));
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(form.of(text))
}

/// The value of a label; the names of instances may have any printable character.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Escaped(String);

impl EncodeLabelValue for Escaped {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// One row of a family.
type Row<V> = (Vec<(&'static str, Escaped)>, V);

fn row<V, const N: usize>(labels: [(&'static str, &str); N], value: V) -> Row<V> {
    (labels.map(|(name, value)| (name, Escaped(value.to_owned()))).into(), value)
}

#[derive(Debug)]
struct Snapshot(Live);

impl Collector for Snapshot {
    #[rustfmt::skip]
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let live = &self.0;
        let mut out = Out(encoder);
        out.gauge("ready", "1 while packets are translated", None, [row([], u64::from(live.ready))])?;
        out.gauge("uptime", "Since the daemon began", Some(&Unit::Seconds), [row([], seconds(live.uptime))])?;
        out.counter("packets", "Packets by path and direction; those of the daemon translated or not, a super-packet as one", None, traffic(live, |flow| flow.packets))?;
        out.counter("traffic", "Bytes of these packets, as they came", Some(&Unit::Bytes), traffic(live, |flow| flow.bytes))?;
        out.counter("translated_packets", "Packets that the daemon has translated", None, [row([], live.translated)])?;
        out.counter("icmp_errors_sent", "ICMP errors that the translator itself has sent", None, [row([], live.errors_sent)])?;
        out.counter("untranslated_packets", "Packets that the daemon has not translated, by reason", None, with_zeros(&live.drops, xlat_engine::Reason::all().map(xlat_engine::Reason::name)))?;
        out.counter("handed_over", "Packets that the kernel's programs left to the daemon or the host, by reason", None, reasons(&live.handed_over))?;
        out.counter("losses", "Packets lost by queues and the device, by reason", None, with_zeros(&live.losses, [Counter::Lost.name()].into_iter()))?;
        out.gauge("instance_enabled", "1 if the instance translates (manually-enabled)", None, live.instances.iter().map(|one| row([("translator", &one.name), ("type", one.translator.word())], u64::from(one.enabled))))?;
        out.gauge("sessions", "Sessions", None, tables(live, |table| table.sessions))?;
        out.gauge("bib_entries", "BIB entries", None, tables(live, |table| table.bib_entries))?;
        out.counter("sessions_made", "Sessions made, restored ones included", None, tables(live, |table| table.sessions_made))?;
        out.gauge("pool4_used_ports", "Ports or identifiers of pool4 in use", None, tables(live, |table| table.pool4_used))?;
        out.gauge("pool4_ports", "Ports or identifiers that pool4 has", None, tables(live, |table| table.pool4_total))?;
        out.gauge("pool4_address_used_ports", "Ports or identifiers in use, of the 64 fullest addresses", None, pool4(live, |one| one.used))?;
        out.gauge("pool4_address_ports", "Ports or identifiers that these addresses have", None, pool4(live, |one| one.total))?;
        out.gauge("tables", "Memory of the daemon for sessions, BIB entries and port maps", Some(&Unit::Bytes), [row([], live.table_memory)])?;
        out.counter("thread_busy", "Processor time of the daemon's threads; workers are xlat-0, xlat-1, ...", Some(&Unit::Seconds), live.threads.iter().map(|one| row([("thread", &one.name)], one.busy)))?;
        if let Some(kernel) = live.fast_path {
            out.gauge("kernel_flows", "Flows that the kernel repeats", None, [row([], kernel.flows)])?;
            out.gauge("kernel_flows_limit", "Flows that the kernel has room for", None, [row([], kernel.max_flows)])?;
            out.gauge("kernel_maps", "Memory of the kernel for flows and EAM entries", Some(&Unit::Bytes), [row([], kernel.memory)])?;
        }
        Ok(())
    }
}

/// Where the families go. A row without labels is the only one of its family.
struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn counter<V: EncodeCounterValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = Row<V>>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstCounter::new(value)));
        self.family(name, help, unit, MetricType::Counter, rows)
    }

    fn gauge<V: EncodeGaugeValue + Copy>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        rows: impl IntoIterator<Item = Row<V>>,
    ) -> fmt::Result {
        let rows = rows.into_iter().map(|(labels, value)| (labels, ConstGauge::new(value)));
        self.family(name, help, unit, MetricType::Gauge, rows)
    }

    fn family<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        kind: MetricType,
        rows: impl Iterator<Item = Row<M>>,
    ) -> fmt::Result {
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        for (labels, value) in rows {
            if labels.is_empty() {
                return value.encode(family);
            }
            value.encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn traffic(live: &Live, number: fn(&Flow) -> u64) -> impl Iterator<Item = Row<u64>> {
    let both = |path, flows: &Directions| {
        let direction = |from, flow: &Flow| row([("path", path), ("from", from)], number(flow));
        [direction("ipv6", &flows.from6), direction("ipv4", &flows.from4)]
    };
    both("kernel", &live.kernel).into_iter().chain(both("daemon", &live.daemon))
}

fn tables(live: &Live, number: fn(&Table) -> u64) -> impl Iterator<Item = Row<u64>> {
    let of_instance = move |one: &Instance| {
        let rows = one.tables.iter().map(|table| {
            row([("translator", &one.name), ("protocol", table.protocol.label())], number(table))
        });
        rows.collect::<Vec<_>>()
    };
    live.instances.iter().flat_map(of_instance)
}

fn pool4(live: &Live, number: fn(&Pool4) -> u64) -> impl Iterator<Item = Row<u64>> {
    live.pool4.iter().map(move |one| {
        let (address, protocol) = (one.address.to_string(), one.protocol.label());
        row([("translator", &one.instance), ("address", &address), ("protocol", protocol)], number(one))
    })
}

fn reasons(list: &[Reason]) -> impl Iterator<Item = Row<u64>> {
    list.iter().map(|one| row([("reason", &one.name)], one.count))
}

/// With those that never happened: a counter that begins when something happens loses the first time.
fn with_zeros<'l>(
    list: &'l [Reason],
    all: impl Iterator<Item = &'static str> + 'l,
) -> impl Iterator<Item = Row<u64>> + 'l {
    let missing = all.filter(|name| list.iter().all(|one| one.name != *name));
    reasons(list).chain(missing.map(|name| row([("reason", name)], 0)))
}

fn seconds(millis: u64) -> f64 {
    millis as f64 / 1000.0
}
