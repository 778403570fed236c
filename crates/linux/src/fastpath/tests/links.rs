//! What is attached: there without a daemon, replaced without a gap, taken off without a trace.

use std::fs;
use std::path::PathBuf;

use super::super::*;
use super::common::run;
use super::{interface, open, session, with_pins};
use crate::privileges::{self, Capabilities};

#[test]
fn links_outlive_the_daemon_and_change_their_program() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        run("ip link set x0 up");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        let ingress = fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        println!("{ingress:?}");
        let before = fast_path.attached();
        assert!(before.contains(&Attachment { interface: index, hook: Hook::Ingress, how: ingress.tc }));
        assert_eq!(before.len(), if matches!(ingress.xdp, Some(Ok(_))) { 2 } else { 1 });
        drop(fast_path);
        assert_eq!(sorted(attachments(&pins)), sorted(before.clone()));

        let links = link_ids(&pins);
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        assert_eq!(sorted(fast_path.attached()), sorted(before));
        let after = link_ids(&pins);
        let ids = |links: &[bpf::LinkInfo]| links.iter().map(|link| link.id).collect::<Vec<_>>();
        assert_eq!(ids(&links), ids(&after));
        assert!(links.iter().zip(&after).all(|(before, after)| before.program != after.program));

        // Without XDP that part goes, and the rest stays.
        fast_path.attach_ingress(index, XdpMode::Off).unwrap();
        assert_eq!(fast_path.attached().len(), 1);
        fast_path.attach_ingress(index, XdpMode::Generic).unwrap().xdp.unwrap().unwrap();
        assert!(run("ip link show x0").contains("xdpgeneric"));
        fast_path.detach(index).unwrap();
        assert_eq!(fast_path.attached(), []);
        assert!(!run("ip link show x0").contains("xdp"));

        // An interface that goes takes its pins along when somebody looks.
        fast_path.attach_ingress(index, XdpMode::Off).unwrap();
        run("ip link del x0");
        assert_eq!(attachments(&pins).len(), 1);
        assert_eq!(fast_path.attached(), []);
        assert_eq!(attachments(&pins), []);
    });
}

#[test]
fn what_an_ended_namespace_left_is_removed() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(interface("x0"), XdpMode::Off).unwrap();
        drop(fast_path);
        // As if it were another namespace's.
        let other = pins.root().with_file_name("1-1");
        fs::rename(pins.root(), &other).unwrap();
        let parent = other.parent().unwrap().parent().unwrap();
        let pins = Pins::find(Some(parent)).unwrap();
        attach::remove_abandoned(&pins);
        assert!(other.exists());
        run("ip link del x0");
        let lock = pins.siblings()[0].lock().unwrap();
        attach::remove_abandoned(&pins);
        assert!(other.exists());
        drop(lock);
        attach::remove_abandoned(&pins);
        assert!(!other.exists());
    });
}

#[test]
fn another_version_is_replaced_on_its_links() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        let links = link_ids(&pins);
        drop(fast_path);
        fs::rename(pins.directory(), pins.root().join("v0")).unwrap();
        fs::create_dir(pins.directory()).unwrap();
        let (fast_path, opened) = open(&pins);
        assert!(matches!(opened, Opened::Incompatible { .. }));
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        // As if the former had been killed in the middle of taking over.
        let aside = pins.root().join("v0");
        let one = attachments(&pins)[0];
        let name = attach::pin_name(one);
        bpf::pin(&bpf::get(&pins.directory().join(&name)).unwrap(), &aside.join(&name)).unwrap();
        fast_path.remove_others().unwrap();
        assert!(!aside.exists());
        assert!(fast_path.attached().contains(&one));
        let after = link_ids(&pins);
        assert_eq!(links.len(), after.len());
        assert!(links.iter().zip(&after).all(|(before, after)| before.id == after.id));
    });
}

#[test]
fn older_kernels_get_filters_which_are_taken_off_without_trace() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let before = run("tc qdisc show dev x0");
        let (fast_path, _) = open(&pins);
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        fast_path.attach_filter(index, Hook::Device).unwrap();
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        for side in ["ingress", "egress"] {
            let filters = run(&format!("tc filter show dev x0 {side}"));
            assert_eq!(filters.matches("direct-action").count(), 1, "{filters}");
        }
        let of = |hook| Attachment { interface: index, hook, how: How::Tc };
        assert_eq!(sorted(fast_path.attached()), sorted(vec![of(Hook::Ingress), of(Hook::Device)]));
        drop(fast_path);
        flush(&pins).unwrap();
        assert_eq!(run("tc qdisc show dev x0"), before);

        // A queueing discipline that was there before stays.
        run("tc qdisc add dev x0 clsact");
        let pins = Pins::find(Some(pins.root().parent().unwrap().parent().unwrap())).unwrap();
        let (fast_path, _) = open(&pins);
        fast_path.attach_filter(index, Hook::Ingress).unwrap();
        fast_path.detach(index).unwrap();
        assert!(run("tc qdisc show dev x0").contains("clsact"));
        assert_eq!(run("tc filter show dev x0 ingress"), "");
        assert_eq!(fast_path.attached(), []);
    });
}

#[test]
fn the_kernel_accepts_every_program() {
    with_pins(|pins| {
        let (fast_path, _) = open(&pins);
        let programs = fast_path.programs();
        println!("{programs:#?}");
        assert_eq!(programs.len(), 4);
        assert!(programs.iter().all(|program| program.instructions > 0 && program.machine_code > 0));
    });
}

#[test]
fn two_capabilities_are_enough_once_it_is_loaded() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let (fast_path, _) = open(&pins);
        privileges::drop_all_but(Capabilities::NET_ADMIN.or(Capabilities::BPF)).unwrap();
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        fast_path.attach_filter(index, Hook::Device).unwrap();
        let flows = fast_path.maps().flows();
        flows.insert(&[session(1)], 5).unwrap();
        assert_eq!((flows.last_used(&session(1)).unwrap(), flows.count().unwrap()), (Some(5), 1));
        flows.clear().unwrap();
        fast_path.maps().heartbeat(1).unwrap();
        fast_path.maps().statistics().unwrap();
        assert!(fast_path.attached().len() >= 2);
        fast_path.detach(index).unwrap();
        assert_eq!(fast_path.attached(), []);
        drop(fast_path);
        flush(&pins).unwrap();
    });
}

fn sorted(mut all: Vec<Attachment>) -> Vec<String> {
    all.sort_by_key(|attachment| format!("{attachment:?}"));
    all.into_iter().map(|attachment| format!("{attachment:?}")).collect()
}

/// The links that are pinned, by name.
fn link_ids(pins: &Pins) -> Vec<bpf::LinkInfo> {
    let mut paths: Vec<PathBuf> = pins::entries(&pins.directory());
    paths.retain(|path| !path.file_name().unwrap().to_string_lossy().starts_with("XLAT"));
    paths.sort();
    paths.iter().map(|path| bpf::info(&bpf::get(path).unwrap()).unwrap()).collect()
}
