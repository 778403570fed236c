//! Programs made ready by a step with all rights: taken by who may not load any, and only where they are the right ones.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use super::super::*;
use super::common::run;
use super::{SIZES, interface, open, open_maps, session, with_pins};
use crate::privileges::{self, Capabilities};

/// As the service's daemon is, for the rest of the thread.
fn contained() {
    privileges::drop_all_but(Capabilities::NET_ADMIN.or(Capabilities::BPF)).unwrap();
}

fn of_programs(pins: &Pins) -> Vec<PathBuf> {
    let mut all = pins::entries(&pins.directory());
    all.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with("programs-"));
    all
}

/// Why there is no fast path.
fn refused(pins: &Pins) -> String {
    match FastPath::open(pins, SIZES) {
        Err(error @ FastPathError::NotPrepared { .. }) => {
            assert!(error.source().is_none(), "what to do is the end of it");
            error.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn prepared_programs_need_no_right_to_load() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let index = interface("x0");
        let loaded = open(&pins).0.programs();
        flush(&pins).unwrap();
        let pins = Pins::find(Some(pins.root().parent().unwrap().parent().unwrap())).unwrap();
        assert!(prepare(&pins, SIZES).unwrap());
        assert!(!prepare(&pins, SIZES).unwrap(), "nothing is left to do");
        contained();
        let (fast_path, opened) = FastPath::open(&pins, SIZES).unwrap();
        assert_eq!(opened, Opened::Fresh);
        // The same machine code: no guards against speculation, which would make it slow.
        assert_eq!((fast_path.programs(), loaded.len()), (loaded, 4));
        fast_path.attach_ingress(index, XdpMode::Native).unwrap();
        fast_path.attach_filter(index, Hook::Device).unwrap();
        assert!(fast_path.attached().len() >= 2);
        assert!(matches!(prepare(&pins, SIZES), Err(FastPathError::InUse(_))));
        drop(fast_path);
        flush(&pins).unwrap();
        assert!(!pins.root().exists());
    });
}

#[test]
fn what_the_kernel_refused_is_not_tried_again() {
    with_pins(|pins| {
        prepare(&pins, SIZES).unwrap();
        let [directory] = of_programs(&pins).try_into().unwrap();
        // As it is where a kernel takes no XDP: all the others are there.
        for name in [xlat_fastpath::programs::XDP, xlat_fastpath::programs::XDP_FRAGS] {
            fs::remove_file(directory.join(name)).unwrap();
        }
        assert!(!prepare(&pins, SIZES).unwrap());
        contained();
        let (fast_path, _) = FastPath::open(&pins, SIZES).unwrap();
        assert_eq!(fast_path.programs().len(), 2);
    });
}

#[test]
fn flows_and_what_is_attached_stay_while_programs_are_prepared() {
    with_pins(|pins| {
        run("ip link add x0 type veth peer name y0");
        let (first, _) = open(&pins);
        first.maps().flows().insert(&[session(1)], 5).unwrap();
        first.attach_ingress(interface("x0"), XdpMode::Off).unwrap();
        let attached = first.attached();
        drop(first);
        assert!(prepare(&pins, Sizes { max_flows: 5, max_eam: 5 }).unwrap());
        assert_eq!(attachments(&pins), attached);
        contained();
        let (second, opened) = FastPath::open(&pins, SIZES).unwrap();
        assert_eq!(opened, Opened::TakenOver { sizes: SIZES });
        assert_eq!(second.maps().flows().last_used(&session(1)).unwrap(), Some(5));
        assert_eq!(second.attached(), attached);
    });
}

#[test]
fn programs_of_another_version_or_other_maps_are_not_taken() {
    with_pins(|pins| {
        prepare(&pins, SIZES).unwrap();
        let right = of_programs(&pins);
        let [right] = right.as_slice() else { panic!("{right:?}") };
        // Another version's, by its name.
        let other = right.with_file_name("programs-0000000000000000");
        fs::rename(right, &other).unwrap();
        std::thread::scope(|scope| {
            let said = scope.spawn(|| {
                contained();
                refused(&pins)
            });
            assert!(said.join().unwrap().contains("another version"));
        });
        assert!(prepare(&pins, SIZES).unwrap());
        assert_eq!(of_programs(&pins), [right.as_path()], "former ones go");
        // The right name, but the maps have been made anew since.
        let kept = pins.root().join("kept");
        fs::rename(right, &kept).unwrap();
        pins.renew().unwrap();
        drop(open_maps(&pins, SIZES.max_flows, SIZES.max_eam));
        fs::rename(&kept, right).unwrap();
        contained();
        let said = refused(&pins);
        assert!(said.contains("other maps") && said.contains("xlat load"), "{said}");
        fs::remove_dir_all(right).unwrap();
        assert!(refused(&pins).contains("none were made ready"));
        // Who was refused has not used the maps.
        assert_eq!(Maps::open(&pins).unwrap().unwrap().config().layout, 0);
    });
}

#[test]
fn a_program_in_the_place_of_another_is_not_taken() {
    with_pins(|pins| {
        prepare(&pins, SIZES).unwrap();
        let [directory] = of_programs(&pins).try_into().unwrap();
        fs::remove_file(directory.join(xlat_fastpath::programs::INGRESS)).unwrap();
        fs::rename(
            directory.join(xlat_fastpath::programs::XDP),
            directory.join(xlat_fastpath::programs::INGRESS),
        )
        .unwrap();
        contained();
        assert!(refused(&pins).contains("not what"));
    });
}

#[test]
fn maps_that_nobody_used_get_the_room_that_is_asked_for_now() {
    with_pins(|pins| {
        prepare(&pins, SIZES).unwrap();
        prepare(&pins, Sizes { max_flows: 77, max_eam: 7 }).unwrap();
        let (fast_path, opened) = FastPath::open(&pins, Sizes { max_flows: 77, max_eam: 7 }).unwrap();
        assert_eq!(opened, Opened::Fresh);
        drop(fast_path);
        let (_, opened) = open(&pins);
        assert_eq!(opened, Opened::TakenOver { sizes: Sizes { max_flows: 77, max_eam: 7 } });
    });
}
